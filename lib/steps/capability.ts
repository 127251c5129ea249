// Capabilities: capset(2), and the bounding and ambient sets of prctl(2).
import { readFileSync } from 'node:fs'
import { invalid } from '../errors.ts'
import { type Flags, FlagTable } from '../flags.ts'
import { Step } from '../step.ts'
import { prctl } from './process.ts'
import { call } from './strace.ts'

// By their numbers in <linux/capability.h>.
const names = [
  'CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_DAC_READ_SEARCH', 'CAP_FOWNER', 'CAP_FSETID', 'CAP_KILL', 'CAP_SETGID', 'CAP_SETUID',
  'CAP_SETPCAP', 'CAP_LINUX_IMMUTABLE', 'CAP_NET_BIND_SERVICE', 'CAP_NET_BROADCAST', 'CAP_NET_ADMIN', 'CAP_NET_RAW',
  'CAP_IPC_LOCK', 'CAP_IPC_OWNER', 'CAP_SYS_MODULE', 'CAP_SYS_RAWIO', 'CAP_SYS_CHROOT', 'CAP_SYS_PTRACE', 'CAP_SYS_PACCT',
  'CAP_SYS_ADMIN', 'CAP_SYS_BOOT', 'CAP_SYS_NICE', 'CAP_SYS_RESOURCE', 'CAP_SYS_TIME', 'CAP_SYS_TTY_CONFIG', 'CAP_MKNOD',
  'CAP_LEASE', 'CAP_AUDIT_WRITE', 'CAP_AUDIT_CONTROL', 'CAP_SETFCAP', 'CAP_MAC_OVERRIDE', 'CAP_MAC_ADMIN', 'CAP_SYSLOG',
  'CAP_WAKE_ALARM', 'CAP_BLOCK_SUSPEND', 'CAP_AUDIT_READ', 'CAP_PERFMON', 'CAP_BPF', 'CAP_CHECKPOINT_RESTORE',
] as const // prettier-ignore

export type Capability = (typeof names)[number]

/** Capabilities by name; a number or bigint is a mask, with a bit each, as in /proc/PID/status. */
export type Capabilities = Flags<Capability>

const table = new FlagTable<Capability>(
  Object.fromEntries(names.map((name, bit) => [name, 2 ** bit])) as Record<Capability, number>,
  'CAP_???',
)

/** Their numbers. */
function numbers(set: bigint): number[] {
  return Array.from({ length: 64 }, (_, bit) => bit).filter((bit) => (set >> BigInt(bit)) & 1n)
}

/** As strace has it. */
function print(set: bigint): string {
  const parts = numbers(set).map((bit) => `1<<${names[bit] ?? `${String(bit)} /* CAP_??? */`}`)
  return parts.length === 0 ? '0' : parts.join('|')
}

/**
 * `int capset(cap_user_header_t hdrp, const cap_user_data_t datap)`: the effective, permitted and inheritable
 * set, all three. At execve the bounding and the ambient set matter more: a program of uid 0 gets what is inheritable
 * or in the bounding set, another's what is ambient. Since Linux 2.2.
 *
 * Acts on: the child; in `fancyproc/thread` one thread. Needs no privilege to give up capabilities; those to
 * be inheritable have to be permitted, or CAP_SETPCAP, and in the bounding set.
 *
 * | errno  | when |
 * |--------|------|
 * | EPERM  | permitted: one that it has not; effective: one that is not permitted; inheritable: one that it may not add |
 *
 * See `man 2 capset`, `man 7 capabilities`.
 */
export function capset(
  effective: Capabilities,
  permitted: Capabilities = effective,
  inheritable: Capabilities = 0,
): Step {
  const sets = [
    table.wide(effective, 'capset: effective'),
    table.wide(permitted, 'capset: permitted'),
    table.wide(inheritable, 'capset: inheritable'),
  ]
  const [e = 0n, p = 0n, i = 0n] = sets
  if (e & ~p) throw invalid('capset: effective', `not permitted: ${print(e & ~p)}`)
  return new Step('capset', sets, {
    calls: () => [
      call(
        'capset',
        '{version=_LINUX_CAPABILITY_VERSION_3, pid=0}',
        `{effective=${print(e)}, permitted=${print(p)}, inheritable=${print(i)}}`,
      ),
    ],
    hints: {
      EPERM:
        'a capability that is not permitted cannot be added; one to be inheritable must be permitted (or this needs CAP_SETPCAP) and in the bounding set',
    },
  })
}

/**
 * `prctl(PR_CAPBSET_DROP, capability)` for each: takes capabilities out of the bounding set, for good. No
 * execve gives what is not in it, not even to uid 0. Since Linux 2.6.25.
 *
 * Acts on: the child. Needs CAP_SETPCAP.
 *
 * | errno  | when |
 * |--------|------|
 * | EINVAL | one that this kernel does not know |
 * | EPERM  | no CAP_SETPCAP |
 *
 * See `man 2 prctl`, `man 7 capabilities`.
 */
export function dropBounding(capabilities: Capabilities): Step[] {
  const set = table.wide(capabilities, 'dropBounding: capabilities')
  return numbers(set).map((number) => prctl('PR_CAPBSET_DROP', number))
}

/**
 * `prctl(PR_CAPBSET_DROP, capability)` for each other one that this kernel has: leaves no more than these in
 * the bounding set. Since Linux 2.6.25.
 *
 * Acts on: the child. Needs CAP_SETPCAP.
 *
 * Errnos: as for `dropBounding`.
 *
 * See `man 2 prctl`, `man 7 capabilities`.
 */
export function keepBounding(capabilities: Capabilities): Step[] {
  return dropBounding(allCapabilities() & ~table.wide(capabilities, 'keepBounding: capabilities'))
}

/** Those that this kernel has. */
export function allCapabilities(): bigint {
  const last = Number(readFileSync('/proc/sys/kernel/cap_last_cap', 'latin1'))
  return (1n << BigInt(last + 1)) - 1n
}

/**
 * `prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0)` for each: a program that is not of uid 0
 * has them after execve, and so have its children. `setresuid` away from 0 clears them: it comes before, with
 * `prctl('PR_SET_KEEPCAPS', 1)` before that and `capset` after it. Since Linux 4.3.
 *
 * Acts on: the child. Needs no privilege, but each to be both permitted and inheritable.
 *
 * | errno  | when |
 * |--------|------|
 * | EINVAL | one that this kernel does not know |
 * | EPERM  | one that is not permitted, or not inheritable |
 *
 * See `man 2 prctl`, `man 7 capabilities`.
 */
export function raiseAmbient(capabilities: Capabilities): Step[] {
  const set = table.wide(capabilities, 'raiseAmbient: capabilities')
  return numbers(set).map((number) => prctl('PR_CAP_AMBIENT', PR_CAP_AMBIENT_RAISE, number))
}

const PR_CAP_AMBIENT_RAISE = 2
