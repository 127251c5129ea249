// What spawn() takes, and its validation: all of it before anything has happened.
import { constants } from 'node:os'
import type { Readable, Writable } from 'node:stream'
import type { Cgroup } from './cgroups.ts'
import { invalid, outOfRange, show } from './errors.ts'
import { type FdLike, fdNumber, isFdLike } from './fd.ts'
import type { JoinOptions, JoinSteps, Target } from './join.ts'
import { type Namespace, namespaceFlags } from './steps/namespace.ts'
import { flatten, type Step, type Steps } from './step.ts'

export type Signal = NodeJS.Signals | number

/** `'pty'` stands for descriptors 0 to 2 on one pseudo-terminal; a number, an `Fd`, a stream with an fd: that descriptor. */
export type StdioEntry = 'pipe' | 'inherit' | 'ignore' | FdLike | Readable | Writable | null | undefined
export type Stdio = 'pipe' | 'inherit' | 'ignore' | 'pty' | readonly StdioEntry[]

export interface SpawnOptions {
  /**
   * New namespaces of the child, by the kernel's names for them. Together with `cgroup`, a 'cgroup' one begins where the
   * parent is: to begin in the new one, use the step `unshare('cgroup')`.
   */
  namespaces?: readonly Namespace[] | undefined
  /** The cgroup that it is born in (CLONE_INTO_CGROUP): a `Cgroup`, an fd of its directory, or the path. */
  cgroup?: Cgroup | FdLike | string | undefined
  /** Its pid in its pid namespace and in those around it, innermost first (Linux 5.5, CAP_CHECKPOINT_RESTORE). */
  setTid?: readonly number[] | undefined
  /**
   * Whose namespaces to go on in, before the first step, and what else of that process to have, after the last one:
   * `joinSteps` has the details. `env` is then what differs from an inherited environment.
   */
  join?: Target | JoinOptions | undefined
  /** What happens in the child, in this order, between clone3 and execve. */
  steps?: readonly Steps[] | undefined
  /** As in `child_process.spawn`, or `'pty'`. Descriptors 0 to 2 are pipes, higher ones stream sockets. Default: `'pipe'`. */
  stdio?: Stdio | undefined
  /** Initial size of the pty's window; one side alone: 80 columns, 24 rows. For a pty that steps open: `openpty(path, size)`. */
  pty?: { columns?: number; rows?: number } | undefined
  /** All of its environment. Without it: `PATH`, and `TERM` on a pty. */
  env?: Readonly<Record<string, string | undefined>> | undefined
  /** `argv[0]`, where it is not to be the file's name. */
  argv0?: string | undefined
  /** Kills the child when it aborts. */
  signal?: AbortSignal | undefined
  /** Milliseconds after which the child is sent `killSignal`, which it may handle; 0 for none. */
  timeout?: number | undefined
  /** What `kill()`, `timeout` and `signal` send. Default: SIGTERM, and SIGKILL to the first process of a pid namespace. */
  killSignal?: Signal | undefined
  /** A session of its own: setsid(2). */
  detached?: boolean | undefined
}

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

const known = new Set([
  'namespaces', 'cgroup', 'setTid', 'join', 'steps', 'stdio', 'pty', 'env', 'argv0', 'signal', 'timeout', 'killSignal', 'detached',
]) // prettier-ignore

const elsewhere: Record<string, string> = {
  cwd: 'its place among the steps matters: use the step chdir(path)',
  uid: 'its place among the steps matters: use the step setresuid(uid)',
  gid: 'its place among the steps matters: use the steps setgroups([]) and setresgid(gid)',
  shell: "there is none: name it, spawn('sh', ['-c', command])",
  windowsHide: 'this is Linux',
}

export function text(value: unknown, argument: string, { empty = false } = {}): string {
  if (typeof value !== 'string') throw invalid(argument, `expected a string, got ${show(value)}`)
  if (value === '' && !empty) throw invalid(argument, 'is empty')
  if (value.includes('\0')) throw invalid(argument, 'holds a NUL byte')
  if (!value.isWellFormed()) throw invalid(argument, `is not well-formed Unicode: ${show(value)}`)
  return value
}

export function signalNumber(signal: unknown, argument = 'signal'): number {
  if (typeof signal === 'number' && Number.isInteger(signal) && signal >= 0 && signal <= 64) return signal
  const numbers = constants.signals as Record<string, number>
  const number = numbers[String(signal)]
  if (typeof signal !== 'string' || number === undefined) {
    const whole = `SIG${String(signal).toUpperCase()}`
    throw invalid(argument, `no signal: ${show(signal)}${whole in numbers ? `; '${whole}' is one` : ''}`)
  }
  return number
}

/** 0 only asks whether the process is there. */
function killSignal(signal: unknown): number | undefined {
  if (signal === undefined) return undefined
  if (signal === 0) throw invalid('killSignal', 'no signal: 0')
  return signalNumber(signal, 'killSignal')
}

// Of two names for one number (SIGABRT, SIGIOT) the first one is Node's.
const signalNames = new Map(
  Object.entries(constants.signals)
    .reverse()
    .map(([name, number]) => [number, name as NodeJS.Signals]),
)

/** Real-time signals have no name in Node: SIGRTMIN is 34 with glibc and musl's is 35, so they keep their number. */
export function signalName(number: number): NodeJS.Signals {
  return signalNames.get(number) ?? (`SIG${String(number)}` as NodeJS.Signals)
}

function environment(env: unknown, pty: boolean, inherited?: Readonly<Record<string, string>>): string[] {
  if (env === undefined && !inherited) return [`PATH=${DEFAULT_PATH}`, ...(pty ? ['TERM=xterm'] : [])]
  if (env !== undefined && (typeof env !== 'object' || env === null || Array.isArray(env)))
    throw invalid('env', `expected an object, got ${show(env)}`)
  const pairs: string[] = []
  for (const [name, value] of Object.entries({ ...inherited, ...env }) as [string, unknown][]) {
    if (value === undefined) continue
    text(name, 'env')
    if (name.includes('=')) throw invalid('env', `a name holds '=': ${show(name)}`)
    pairs.push(`${name}=${text(value, `env.${name}`, { empty: true })}`)
  }
  return pairs
}

function checkKeys(options: object): void {
  for (const key of Object.keys(options)) {
    if (known.has(key)) continue
    const advice = elsewhere[key] ?? `known are ${[...known].join(', ')}`
    throw invalid(`options.${key}`, `no such option; ${advice}`)
  }
}

export type Source = 'pipe' | 'ignore' | 'pty' | { fd: number }

/** Node's sockets and pipes keep their descriptor where child_process, too, looks for it. */
function ofStream(entry: unknown): number | undefined {
  const handle = (entry as { _handle?: { fd?: unknown } | null } | null)?._handle
  return typeof handle?.fd === 'number' ? handle.fd : undefined
}

function stdioEntry(entry: unknown, target: number): Source {
  if (entry === undefined || entry === null) return target < 3 ? 'pipe' : 'ignore'
  if (entry === 'pipe' || entry === 'ignore') return entry
  if (entry === 'inherit') return { fd: target }
  const argument = `stdio[${String(target)}]`
  if (entry === 'pty') throw invalid(argument, "a pty is for descriptors 0 to 2 together: stdio: 'pty'")
  if (isFdLike(entry)) return { fd: fdNumber(entry, argument) }
  const fd = ofStream(entry)
  if (fd !== undefined) return { fd: fdNumber(fd, argument) }
  throw invalid(
    argument,
    `expected 'pipe', 'inherit', 'ignore', an fd, or a stream that has one, got ${show(entry)}`,
  )
}

function stdioSources(stdio: unknown): Source[] {
  if (stdio === undefined) return ['pipe', 'pipe', 'pipe']
  if (stdio === 'pty') return ['pty', 'pty', 'pty']
  if (stdio === 'pipe' || stdio === 'ignore' || stdio === 'inherit') {
    return [stdioEntry(stdio, 0), stdioEntry(stdio, 1), stdioEntry(stdio, 2)]
  }
  if (!Array.isArray(stdio))
    throw invalid('stdio', `expected 'pipe', 'inherit', 'ignore', 'pty' or an array, got ${show(stdio)}`)
  if (stdio.length > 512) throw outOfRange('stdio', 'more than 512 descriptors')
  const entries: unknown[] = [...(stdio as unknown[])]
  while (entries.length < 3) entries.push(undefined)
  return entries.map(stdioEntry)
}

export interface Checked {
  file: string
  args: string[]
  argv: string[]
  env: string[]
  path: string
  flags: number
  setTid: Int32Array
  steps: Step[]
  stdio: Source[]
  columns: number | undefined
  rows: number | undefined
  /** Which of the steps the caller wrote, and how. */
  written: readonly [from: number, to: number]
  given: SpawnOptions['steps']
  namespaces: SpawnOptions['namespaces']
  cgroup: SpawnOptions['cgroup']
  signal: AbortSignal | undefined
  timeout: number | undefined
  killSignal: number | undefined
  detached: boolean
}

function checkPty(pty: unknown, isPty: boolean): void {
  if (typeof pty !== 'object' || pty === null) throw invalid('pty', `expected an object, got ${show(pty)}`)
  const keys = Object.keys(pty)
  const unknown = keys.find((key) => key !== 'columns' && key !== 'rows')
  if (unknown !== undefined) throw invalid(`pty.${unknown}`, 'no such property; known are columns, rows')
  if (keys.length > 0 && !isPty) throw invalid('pty', "there is none: that takes stdio: 'pty'")
}

function windowSide(value: unknown, argument: string): number | undefined {
  if (value === undefined) return undefined
  if (!Number.isInteger(value) || Number(value) < 1 || Number(value) > 65535) {
    throw outOfRange(argument, `expected 1 to 65535, got ${show(value)}`)
  }
  return Number(value)
}

/** Both or none. */
function windowSize(pty: NonNullable<SpawnOptions['pty']>): Pick<Checked, 'columns' | 'rows'> {
  const columns = windowSide(pty.columns, 'pty.columns')
  const rows = windowSide(pty.rows, 'pty.rows')
  return columns === undefined && rows === undefined
    ? { columns, rows }
    : { columns: columns ?? 80, rows: rows ?? 24 }
}

/** No pids. */
export const none = new Int32Array(0)

function pids(value: unknown): Int32Array {
  if (value === undefined) return none
  const list = value as unknown[]
  const good = (pid: unknown): boolean => Number.isInteger(pid) && Number(pid) > 0 && Number(pid) < 2 ** 22
  if (!Array.isArray(value) || value.length > 32 || !list.every(good)) {
    throw invalid('setTid', `expected up to 32 pids, innermost first, got ${show(value)}`)
  }
  return Int32Array.from(value as number[])
}

/** What is to be joined and what is to be new, the caller's cgroup and the target's, exclude one another. */
function checkJoin(joined: JoinSteps | undefined, flags: number, cgroup: unknown): void {
  if (!joined) return
  if (joined.enter.some(({ operation, args }) => operation === 'setns' && Number(args[1]) & flags))
    throw invalid('namespaces', 'one of these is to be joined: it is either new or not')
  if (joined.cgroup && cgroup !== undefined)
    throw invalid('cgroup', "there is one already: the target's, by join.inherit")
}

export function checkOptions(file: unknown, args: unknown, options: unknown, joined?: JoinSteps): Checked {
  text(file, 'file')
  if (!Array.isArray(args)) throw invalid('args', `expected an array of strings, got ${show(args)}`)
  const argv = args.map((arg, i) => text(arg, `args[${String(i)}]`, { empty: true }))
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw invalid('options', `expected an object, got ${show(options)}`)
  checkKeys(options)
  const given = options as SpawnOptions
  const { timeout, signal, detached = false, pty = {} } = given
  if (timeout !== undefined && !(typeof timeout === 'number' && timeout >= 0 && timeout < 2 ** 31)) {
    throw outOfRange('timeout', `expected milliseconds from 0 to 2147483647, got ${show(timeout)}`)
  }
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw invalid('signal', `expected an AbortSignal, got ${show(signal)}`)
  }
  if (typeof detached !== 'boolean') throw invalid('detached', `expected a boolean, got ${show(detached)}`)
  const stdio = stdioSources(given.stdio)
  checkPty(pty, stdio[0] === 'pty')
  const env = environment(given.env, stdio[0] === 'pty', joined?.env)
  const flags = namespaceFlags(given.namespaces ?? [], 'namespaces')
  const written = flatten(given.steps ?? [])
  checkJoin(joined, flags, given.cgroup)
  const { columns, rows } = windowSize(pty)
  const before = joined?.enter.length ?? 0
  return {
    file: file as string,
    args: argv,
    argv: [
      given.argv0 === undefined ? (file as string) : text(given.argv0, 'argv0', { empty: true }),
      ...argv,
    ],
    env,
    path: env.find((pair) => pair.startsWith('PATH='))?.slice(5) ?? '/usr/bin:/bin',
    flags,
    setTid: pids(given.setTid),
    steps: joined ? [...joined.enter, ...written, ...joined.become] : written,
    written: [before, before + written.length],
    given: given.steps,
    stdio,
    columns,
    rows,
    namespaces: given.namespaces,
    cgroup: given.cgroup ?? joined?.cgroup,
    signal,
    timeout,
    killSignal: killSignal(given.killSignal),
    detached,
  }
}
