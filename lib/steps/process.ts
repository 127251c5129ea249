// prctl(2), prlimit64(2)
import { invalid, outOfRange, show } from '../errors.ts'
import { Step } from '../step.ts'
import { boolean, named, text } from './arguments.ts'
import { PR_SET_PDEATHSIG } from './order.ts'
import { printSignal, type SignalName, signalNumber } from './signal.ts'
import { call, hex, quote } from './strace.ts'

const prctls = {
  PR_SET_PDEATHSIG,
  PR_SET_DUMPABLE: 4,
  PR_SET_KEEPCAPS: 8,
  PR_SET_NAME: 15,
  PR_CAPBSET_DROP: 24,
  PR_SET_SECUREBITS: 28,
  PR_SET_TIMERSLACK: 29,
  PR_SET_CHILD_SUBREAPER: 36,
  PR_SET_NO_NEW_PRIVS: 38,
  PR_SET_THP_DISABLE: 41,
  PR_CAP_AMBIENT: 47,
  PR_SET_SPECULATION_CTRL: 53,
  PR_SET_IO_FLUSHER: 57,
  PR_SCHED_CORE: 62,
  PR_SET_MDWE: 65,
  PR_SET_MEMORY_MERGE: 67,
} as const

/** What prctl(2) sets, as <linux/prctl.h> has it; any other goes by its number. */
export type PrctlOption = keyof typeof prctls

type PrctlArgument = number | bigint | string | Uint8Array

/** A task's name, without its NUL. The kernel would cut a longer one. */
const NAME_MOST = 15

/** Options of which strace shows one argument, and those whose first is decimal. */
const single = new Set<number>([
  prctls.PR_SET_PDEATHSIG,
  prctls.PR_SET_DUMPABLE,
  prctls.PR_SET_KEEPCAPS,
  prctls.PR_SET_NAME,
])
for (const option of [prctls.PR_CAPBSET_DROP, prctls.PR_SET_TIMERSLACK, prctls.PR_SET_CHILD_SUBREAPER])
  single.add(option)
single.add(prctls.PR_SET_SECUREBITS)
const decimal = new Set<number>([
  prctls.PR_SET_KEEPCAPS,
  prctls.PR_SET_TIMERSLACK,
  prctls.PR_SET_CHILD_SUBREAPER,
])
for (const option of [prctls.PR_SET_NO_NEW_PRIVS, prctls.PR_SET_THP_DISABLE, prctls.PR_SET_IO_FLUSHER])
  decimal.add(option)

function printArgument(option: number, value: PrctlArgument, index: number): string {
  if (typeof value === 'string' || value instanceof Uint8Array) return quote(value)
  if (index === 0 && option === prctls.PR_SET_PDEATHSIG) return printSignal(Number(value))
  if (index === 0 && option === prctls.PR_SET_DUMPABLE && Number(value) < 2) {
    return Number(value) === 0 ? 'SUID_DUMP_DISABLE' : 'SUID_DUMP_USER'
  }
  return index === 0 && decimal.has(option) ? String(value) : hex(value)
}

function printPrctl(option: number, args: readonly PrctlArgument[]): string[] {
  const name =
    Object.entries(prctls).find(([, number]) => number === option)?.[0] ?? `${hex(option)} /* PR_??? */`
  return [
    name,
    ...args.slice(0, single.has(option) ? 1 : 4).map((value, i) => printArgument(option, value, i)),
  ]
}

function checkArgument(value: unknown, option: number, index: number): PrctlArgument {
  const argument = `prctl: arg${String(index + 2)}`
  if (option === prctls.PR_SET_NAME && index === 0)
    return text(value, argument, { empty: true, most: NAME_MOST })
  if (option === prctls.PR_SET_PDEATHSIG && index === 0) return signalNumber(value, argument, 0)
  if (typeof value === 'string') return text(value, argument, { empty: true })
  if (value instanceof Uint8Array) return Uint8Array.from(value)
  if (typeof value === 'bigint' || typeof value === 'number') {
    if (typeof value === 'number' && !Number.isSafeInteger(value))
      throw outOfRange(argument, `no exact integer: ${String(value)}`)
    if (value < -(2n ** 63n) || value >= 2n ** 64n)
      throw outOfRange(argument, `not 64 bits: ${String(value)}`)
    // The register's bits; a negative number is a pattern of those.
    return value < 0 ? BigInt.asUintN(64, BigInt(value)) : value
  }
  throw invalid(argument, `expected an integer, a string or a Uint8Array, got ${show(value)}`)
}

/**
 * `int prctl(int op, unsigned long arg2, arg3, arg4, arg5)`: sets something of the process; a string or bytes
 * are passed by address. For what it gives back there is no use here. PR_SET_MM and whatever else changes the
 * memory is lost at execve. Since Linux 2.1.57; which op it has depends on the kernel.
 *
 * Acts on: the child. The common ones have functions of their own: `setNoNewPrivs`, `setPdeathsig`,
 * `setName`, `setChildSubreaper`; PR_SET_NAME is lost at execve. Needs what the op asks for: PR_CAPBSET_DROP
 * and PR_SET_SECUREBITS CAP_SETPCAP, PR_SET_IO_FLUSHER CAP_SYS_RESOURCE, most others no privilege.
 *
 * | errno  | when |
 * |--------|------|
 * | EINVAL | an unknown op; a bad argument; one that is to be 0 and is not |
 * | EPERM  | no privilege for it |
 *
 * See `man 2 prctl`.
 */
export function prctl(option: PrctlOption | number, ...args: PrctlArgument[]): Step {
  const number = named(option, 'prctl: op', prctls)
  if (args.length > 4) throw invalid('prctl: arg6', 'there are four arguments, arg2 to arg5')
  const values: PrctlArgument[] = args.map((value, i) => checkArgument(value, number, i))
  while (values.length < 4) values.push(0)
  return new Step('prctl', [number, ...values], {
    calls: () => [call('prctl', ...printPrctl(number, values))],
    hints: { EINVAL: 'an option that this kernel does not know, or an argument that it does not take' },
  })
}

/**
 * `prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)`: from here on no execve gives privileges: no set-uid, no file
 * capabilities, no SELinux transition that policy does not allow with nnp_transition. It cannot be undone.
 * Since Linux 3.5.
 *
 * Acts on: the child; in `fancyproc/thread` one thread, and those that it makes. Needs no privilege.
 *
 * | errno  | when |
 * |--------|------|
 * | EINVAL | a kernel before 3.5 |
 *
 * See `man 2 prctl`.
 */
export function setNoNewPrivs(): Step {
  return prctl('PR_SET_NO_NEW_PRIVS', 1)
}

/**
 * `prctl(PR_SET_PDEATHSIG, signal)`: the program gets this signal when the process that spawned it ends; 0 is
 * none. Without it, a child that has begun its program outlives its parent. It is forgotten when ids or
 * credentials change and by a new process, so a list with `setresuid`, `setresgid`, `clone` or `setns` of a
 * 'user' namespace behind it is refused; and at an execve that changes the label, so one with `setexeccon` or
 * `aaChangeOnexec` is, too. Also forgotten at the execve of a set-uid program.
 * Since Linux 2.1.57.
 *
 * Acts on: the child only. Needs no privilege.
 *
 * | errno  | when |
 * |--------|------|
 * | EINVAL | no such signal |
 *
 * See `man 2 prctl`.
 */
export function setPdeathsig(signal: SignalName | number): Step {
  return prctl('PR_SET_PDEATHSIG', signalNumber(signal, 'setPdeathsig: signal', 0))
}

/**
 * `prctl(PR_SET_NAME, name)`: the name in /proc/PID/comm, up to 15 bytes. Since Linux 2.6.9.
 *
 * Acts on: the child, until execve gives it the program's name; in `fancyproc/thread` one thread. Needs no
 * privilege.
 *
 * | errno  | when |
 * |--------|------|
 * | EINVAL | a kernel before 2.6.9 |
 *
 * See `man 2 prctl`.
 */
export function setName(name: string): Step {
  return prctl('PR_SET_NAME', text(name, 'setName: name', { empty: true, most: NAME_MOST }))
}

/**
 * `prctl(PR_SET_CHILD_SUBREAPER, 1)`: orphans among the program's descendants become its children. It
 * survives execve, and is not passed on to children. Since Linux 3.4.
 *
 * Acts on: the child only. Needs no privilege.
 *
 * | errno  | when |
 * |--------|------|
 * | EINVAL | a kernel before 3.4 |
 *
 * See `man 2 prctl`.
 */
export function setChildSubreaper(on = true): Step {
  return prctl('PR_SET_CHILD_SUBREAPER', boolean(on, 'setChildSubreaper: on') ? 1 : 0)
}

const resources = {
  RLIMIT_CPU: 0,
  RLIMIT_FSIZE: 1,
  RLIMIT_DATA: 2,
  RLIMIT_STACK: 3,
  RLIMIT_CORE: 4,
  RLIMIT_RSS: 5,
  RLIMIT_NPROC: 6,
  RLIMIT_NOFILE: 7,
  RLIMIT_MEMLOCK: 8,
  RLIMIT_AS: 9,
  RLIMIT_LOCKS: 10,
  RLIMIT_SIGPENDING: 11,
  RLIMIT_MSGQUEUE: 12,
  RLIMIT_NICE: 13,
  RLIMIT_RTPRIO: 14,
  RLIMIT_RTTIME: 15,
} as const

export type Resource = keyof typeof resources

/** In the unit of the resource; a bigint above 2^53. */
export type Limit = number | bigint | 'infinity'

const RLIM_INFINITY = 2n ** 64n - 1n

function limitValue(value: unknown, argument: string): bigint {
  if (value === 'infinity') return RLIM_INFINITY
  if (typeof value !== 'bigint' && typeof value !== 'number') {
    throw invalid(argument, `expected a number, a bigint or 'infinity', got ${show(value)}`)
  }
  if (typeof value === 'number' && !Number.isSafeInteger(value)) {
    throw outOfRange(argument, `${String(value)} is not an exact integer; without a limit is 'infinity'`)
  }
  if (value < 0 || value > RLIM_INFINITY)
    throw outOfRange(argument, `expected 0 to 2^64 - 1, got ${String(value)}`)
  return BigInt(value)
}

function printLimit(value: bigint): string {
  if (value === RLIM_INFINITY) return 'RLIM64_INFINITY'
  return value > 1024n && value % 1024n === 0n ? `${String(value / 1024n)}*1024` : String(value)
}

/**
 * `int prlimit(0, int resource, const struct rlimit *new_limit, NULL)`: soft and hard limit of a resource;
 * one value is both. Units are the resource's: bytes, seconds (CPU), microseconds (RTTIME), numbers of
 * things. The child starts with the caller's limits, but the soft RLIMIT_NOFILE is at most 1024. Since Linux
 * 2.6.36.
 *
 * Acts on: the child only. Needs no privilege to lower one; raising a hard limit needs
 * CAP_SYS_RESOURCE in the first user namespace.
 *
 * | errno  | when |
 * |--------|------|
 * | EINVAL | unknown resource |
 * | EPERM  | a raised hard limit; RLIMIT_NOFILE above fs.nr_open |
 *
 * See `man 2 prlimit`.
 */
export function setrlimit(resource: Resource | number, soft: Limit, hard: Limit = soft): Step {
  const number = named(resource, 'setrlimit: resource', resources)
  const name =
    Object.entries(resources).find(([, value]) => value === number)?.[0] ?? `${hex(number)} /* RLIMIT_??? */`
  const current = limitValue(soft, 'setrlimit: soft')
  const most = limitValue(hard, 'setrlimit: hard')
  if (current > most)
    throw outOfRange('setrlimit: soft', `${String(soft)} is above the hard limit, ${String(hard)}`)
  const limits = `{rlim_cur=${printLimit(current)}, rlim_max=${printLimit(most)}}`
  return new Step('prlimit64', [number, current, most], {
    calls: () => [call('prlimit64', '0', name, limits, 'NULL')],
    path: name,
    hints: {
      EPERM:
        'raising a hard limit needs CAP_SYS_RESOURCE in the first user namespace; RLIMIT_NOFILE ends at fs.nr_open',
    },
  })
}
