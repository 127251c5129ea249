import { constants } from 'node:os'
import { getSystemErrorMap, inspect } from 'node:util'

const { errno: numbers } = constants
// Of two names for one number, the kernel's headers use the other.
const aliases = ['EWOULDBLOCK', 'ENOTSUP']
const names = new Map(
  Object.entries(numbers)
    .filter(([name]) => !aliases.includes(name))
    .map(([name, number]) => [number, name]),
)

/** 'EPERM' for 1; a number that this platform does not name stays one. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `errno ${String(errno)}`
}

/** 1 for 'EPERM'. */
export function errnoNumber(name: string): number | undefined {
  return (numbers as Record<string, number>)[name]
}

/** Where libuv's words are none, or of sockets. */
const descriptions: Readonly<Record<string, string>> = {
  ECHILD: 'no child processes',
  EDEADLK: 'resource deadlock avoided',
  EDQUOT: 'disk quota exceeded',
  ENOEXEC: 'exec format error',
  ENOLCK: 'no locks available',
  EOPNOTSUPP: 'operation not supported',
  ESTALE: 'stale file handle',
}

function describe(errno: number): string {
  return descriptions[errnoName(errno)] ?? getSystemErrorMap().get(-errno)?.[1] ?? `error ${String(errno)}`
}

export interface KernelErrorDetails {
  /** Positive, as the kernel's headers have it; 0 when a signal ended the setup. */
  errno: number
  signal?: NodeJS.Signals | undefined
  reason?: 'oom_kill' | undefined
  /** Name of the system call, e.g. 'pivot_root'. */
  syscall: string
  /** Index of the step that failed, and where it was written. */
  step?: number | undefined
  place?: string | undefined
  /** The call as strace would print it. */
  call?: string | undefined
  /** Arguments of the step. */
  args?: readonly unknown[] | undefined
  path?: string | undefined
  dest?: string | undefined
  /** What is likely meant, for an errno that misleads. */
  hint?: string | undefined
  cause?: unknown
}

/** A system call that the kernel refused: what failed, on what, with which errno. Shaped like Node's own system errors. */
export class KernelError extends Error {
  override readonly name = 'KernelError'
  /** e.g. 'EPERM'; 'SIGKILL' when a signal ended the child during its setup. */
  readonly code: string
  /** Negative, as in Node's system errors. */
  readonly errno: number
  readonly syscall: string
  /** Of the step that failed, in the list without lists within it; the message says where it was written. */
  declare readonly step?: number
  declare readonly args?: readonly unknown[]
  declare readonly path?: string
  declare readonly dest?: string
  declare readonly hint?: string
  /** The signal that ended the child during its setup. */
  declare readonly signal?: NodeJS.Signals
  /** The OOM killer sent that signal, by what `Reason` says of 'oom_kill'. */
  declare readonly reason?: 'oom_kill'

  constructor(details: KernelErrorDetails) {
    const { errno, signal, reason, syscall, step, place, call, args, path, dest, hint, cause } = details
    const code = errno === 0 ? (signal ?? 'ECHILD') : errnoName(errno)
    let message = `${code}: ${errno === 0 ? 'the child ended during its setup' : describe(errno)}, ${syscall}`
    if (path !== undefined) message += ` '${path}'`
    if (dest !== undefined) message += ` -> '${dest}'`
    if (step !== undefined)
      message += `\n  at ${place ?? `steps[${String(step)}]`}${call === undefined ? '' : `: ${call}`}`
    if (hint !== undefined) message += `\n  hint: ${hint}`
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.errno = -errno
    this.syscall = syscall
    if (step !== undefined) this.step = step
    if (args !== undefined) this.args = args
    if (path !== undefined) this.path = path
    if (dest !== undefined) this.dest = dest
    if (hint !== undefined) this.hint = hint
    if (signal !== undefined) this.signal = signal
    if (reason !== undefined) this.reason = reason
  }
}

/** Throws for -errno, else passes the result on. */
export function check(result: number, syscall: string, details: Partial<KernelErrorDetails> = {}): number {
  if (result < 0) throw new KernelError({ ...details, errno: -result, syscall })
  return result
}

/** Bad input, found before anything has happened; it names the argument. */
export function invalid(argument: string, problem: string): TypeError & { code: string } {
  return Object.assign(new TypeError(`${argument}: ${problem}`), { code: 'ERR_INVALID_ARG_VALUE' })
}

export function outOfRange(argument: string, problem: string): RangeError & { code: string } {
  return Object.assign(new RangeError(`${argument}: ${problem}`), { code: 'ERR_OUT_OF_RANGE' })
}

/** A value for a message: short, and on one line. */
export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value)
  if (typeof value === 'function') return `a function`
  if (Array.isArray(value)) return `an array`
  if (typeof value === 'object' && value !== null) return inspect(value, { depth: 0, breakLength: Infinity })
  return String(value)
}
