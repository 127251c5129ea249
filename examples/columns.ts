// Columns of a process table, as procps prints them with ps -ef.
import { readFileSync } from 'node:fs'
import type { ProcessInfo } from 'fancyproc'

/** What they are made of. */
export const fields = ['uid', 'pid', 'ppid', 'userCPUTime', 'systemCPUTime', 'started', 'tty', 'args', 'comm', 'state'] as const // prettier-ignore
type Row = Pick<ProcessInfo, (typeof fields)[number]>

const now = new Date()
const users = new Map(
  readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .map(([name = '', , uid]) => [Number(uid), name]),
)
/** Digits of a pid. */
const width = String(Number(readFileSync('/proc/sys/kernel/pid_max', 'utf8')) - 1).length

/** Of the user whose rights the process has; a long one is cut as ps does. */
function user({ uid: { effective } }: Row): string {
  const name = users.get(effective) ?? String(effective)
  return (name.length > 8 ? `${name.slice(0, 7)}+` : name).padEnd(8)
}

/** Per cent of one CPU since it was started. */
function usage({ started, ...row }: Row): string {
  const seconds = (now.getTime() - started.getTime()) / 1000
  const percent = seconds > 0 ? Math.floor((cpuSeconds(row) * 100) / seconds) : 0
  return String(Math.min(percent, 99)).padStart(2)
}

function cpuSeconds({ userCPUTime, systemCPUTime }: Pick<Row, 'userCPUTime' | 'systemCPUTime'>): number {
  return (userCPUTime + systemCPUTime) / 1e6
}

/** Today the time, this year the day, else the year. */
function since({ started }: Row): string {
  if (started.getFullYear() !== now.getFullYear()) return `  ${started.getFullYear()}`.slice(-5)
  const month = started.toLocaleString('en', { month: 'short' })
  if (started.toDateString() !== now.toDateString()) return `${month}${two(started.getDate())}`
  return `${two(started.getHours())}:${two(started.getMinutes())}`
}

function time(row: Row): string {
  const seconds = Math.floor(cpuSeconds(row))
  const days = Math.floor(seconds / 86400)
  const clock = [Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, seconds % 60]
    .map(two)
    .join(':')
  return days > 0 ? `${days}-${clock}` : clock
}

const two = (value: number): string => String(value).padStart(2, '0')

/** Kernel threads and zombies have no arguments: their name, in brackets. */
function command({ args, comm, state }: Row): string {
  const text = args.join(' ').trimEnd() || `[${comm}]`
  return (state === 'Z' ? `[${comm}] <defunct>` : text).replace(/\p{Cc}/gu, '?')
}

const id = (value: number | string): string => String(value).padStart(width)

export const header = ['UID     ', id('PID'), id('PPID'), ' C', 'STIME', 'TTY     ', '    TIME', 'CMD'].join(
  ' ',
)

export function line(row: Row): string {
  const { pid, ppid, tty } = row
  const terminal = (tty?.name ?? '?').padEnd(8)
  return [user(row), id(pid), id(ppid), usage(row), since(row), terminal, time(row), command(row)].join(' ')
}
