// What the kernel says of a process.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

type Pid = number | 'self' | undefined

function directory(pid: Pid): string {
  if (pid === undefined) throw new Error('it has no pid')
  return `/proc/${String(pid)}`
}

/** A field of /proc/PID/status: 'SigIgn', 'Uid', 'CapEff'. */
export function status(pid: Pid, field: string): string {
  return statusField(readFileSync(`${directory(pid)}/status`, 'utf8'), field)
}

/** The same, of a text that a child has printed. */
export function statusField(text: string, field: string): string {
  const value = new RegExp(`^${field}:[ \\t]*(.*)$`, 'm').exec(text)?.[1]
  if (value === undefined) throw new Error(`no ${field} in ${text}`)
  return value
}

/** /proc/PID/stat from the state on: state, ppid, pgrp, session, tty_nr, tpgid. */
export function stat(pid: Pid): string[] {
  const text = readFileSync(`${directory(pid)}/stat`, 'latin1')
  return text.slice(text.lastIndexOf(')') + 2).split(' ')
}

export const session = (pid: Pid): number => Number(stat(pid)[3])

export const comm = (pid: Pid): string => readFileSync(`${directory(pid)}/comm`, 'latin1').trimEnd()

/** A namespace's inode, e.g. 'uts:[4026531838]'. */
export function namespace(pid: Pid, kind: string): string {
  return readlinkSync(`${directory(pid)}/ns/${kind}`)
}

/** Its table of descriptors, without the one that reads it. */
export function fds(pid: Pid): Record<number, string> {
  const path = `${directory(pid)}/fd`
  const entries = readdirSync(path).flatMap((fd) => {
    try {
      return [[fd, readlinkSync(`${path}/${fd}`)]]
    } catch {
      return []
    }
  })
  return Object.fromEntries(entries) as Record<number, string>
}

/** Until it sleeps: a program that has just been executed still opens its libraries. */
export async function asleep(pid: Pid): Promise<void> {
  while (stat(pid)[0] !== 'S') await new Promise(setImmediate)
}

/** NUL-terminated strings: 'cmdline', 'environ'. */
export function strings(pid: Pid, file: string): string[] {
  return readFileSync(`${directory(pid)}/${file}`, 'utf8')
    .split('\0')
    .slice(0, -1)
}

/** Soft and hard limit, as /proc/PID/limits has them. */
export function limits(pid: Pid, name: string): [string, string] {
  const text = readFileSync(`${directory(pid)}/limits`, 'utf8')
  const [, soft = '', hard = ''] = new RegExp(`^${name}\\s+(\\S+)\\s+(\\S+)`, 'm').exec(text) ?? []
  return [soft, hard]
}

/** The processes that its threads have started. */
export function children(pid: Pid): number[] {
  try {
    const tasks = readdirSync(`${directory(pid)}/task`)
    const lists = tasks.map((task) => readFileSync(`${directory(pid)}/task/${task}/children`, 'latin1'))
    return lists.join(' ').split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
}
