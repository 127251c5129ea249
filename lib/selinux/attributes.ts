// SELinux attributes of threads and processes: what they are, were, and what they make will be.
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { kernelError } from '../cgroups/files.ts'
import { KernelError } from '../errors.ts'
import { native } from '../native.ts'
import { integer } from '../steps/arguments.ts'
import { requireSelinux } from './enabled.ts'

/** LSM_ATTR_* of <linux/lsm.h>, by the names of /proc/PID/attr. */
const numbers = {
  current: 100,
  exec: 101,
  fscreate: 102,
  keycreate: 103,
  prev: 104,
  sockcreate: 105,
} as const

type Attribute = keyof typeof numbers

function readAttribute(syscall: string, task: string, attribute: Attribute): string | null {
  const path = `/proc/${task}/attr/${attribute}`
  try {
    return readFileSync(path, 'utf8').replace(/[\0\n]+$/, '') || null
  } catch (error) {
    throw kernelError(
      error,
      { syscall, path },
      {
        EACCES: 'the policy does not let this domain ask that of it (process:getattr)',
        ENOENT: 'there is no such process, or no /proc',
        ESRCH: 'there is no such process',
      },
    )
  }
}

/** By lsm_get_self_attr(2) where the kernel has it (6.8): that needs no /proc, and names the LSM. */
function own(syscall: string, attribute: Attribute): string | null {
  requireSelinux(syscall)
  const said = native().lsmGetSelfAttr(numbers[attribute])
  if (typeof said === 'string') return said.replace(/[\0\n]+$/, '') || null
  if (said === -constants.errno.ENOSYS) return readAttribute(syscall, 'thread-self', attribute)
  throw new KernelError({ errno: -said, syscall: 'lsm_get_self_attr' })
}

function ofPid(syscall: string, pid: unknown, attribute: Attribute): string | null {
  const number = integer(pid, `${syscall}: pid`, 1, 0x7fff_ffff)
  requireSelinux(syscall)
  return readAttribute(syscall, String(number), attribute)
}

/**
 * `int getcon(char **context)`: the context of the calling thread, e.g.
 * `unconfined_u:unconfined_r:unconfined_t:s0`.
 * By lsm_get_self_attr(2) since Linux 6.8, by /proc/thread-self/attr on older kernels. Since Linux 2.6.
 *
 * Acts on: the calling thread. Needs no privilege.
 *
 * | errno      | when |
 * |------------|------|
 * | EOPNOTSUPP | SELinux is off |
 * | EACCES     | before 6.8: policy forbids (process:getattr) |
 * | ENOENT     | before 6.8: no procfs at /proc |
 *
 * See `man 3 getcon`, `man 2 lsm_get_self_attr`.
 */
export function getcon(): string {
  return own('getcon', 'current') ?? ''
}

/**
 * `int getprevcon(char **context)`: the context before the last execve.
 * By lsm_get_self_attr(2) since Linux 6.8, by /proc/thread-self/attr on older kernels. Since Linux 2.6.
 *
 * Acts on: the calling thread. Needs no privilege.
 *
 * | errno      | when |
 * |------------|------|
 * | EOPNOTSUPP | SELinux is off |
 * | EACCES     | before 6.8: policy forbids (process:getattr) |
 * | ENOENT     | before 6.8: no procfs at /proc |
 *
 * See `man 3 getprevcon`, `man 2 lsm_get_self_attr`.
 */
export function getprevcon(): string {
  return own('getprevcon', 'prev') ?? ''
}

/**
 * `int getexeccon(char **context)`: the context that the next program will have;
 * null where the policy decides.
 * By lsm_get_self_attr(2) since Linux 6.8, by /proc/thread-self/attr on older kernels. Since Linux 2.6.
 *
 * Acts on: the calling thread. Needs no privilege.
 *
 * | errno      | when |
 * |------------|------|
 * | EOPNOTSUPP | SELinux is off |
 * | EACCES     | before 6.8: policy forbids (process:getattr) |
 * | ENOENT     | before 6.8: no procfs at /proc |
 *
 * See `man 3 getexeccon`, `man 2 lsm_get_self_attr`.
 */
export function getexeccon(): string | null {
  return own('getexeccon', 'exec')
}

/**
 * `int getfscreatecon(char **context)`: the context that new files get; null where the
 * policy decides.
 * By lsm_get_self_attr(2) since Linux 6.8, by /proc/thread-self/attr on older kernels. Since Linux 2.6.
 *
 * Acts on: the calling thread. Needs no privilege.
 *
 * | errno      | when |
 * |------------|------|
 * | EOPNOTSUPP | SELinux is off |
 * | EACCES     | before 6.8: policy forbids (process:getattr) |
 * | ENOENT     | before 6.8: no procfs at /proc |
 *
 * See `man 3 getfscreatecon`, `man 2 lsm_get_self_attr`.
 */
export function getfscreatecon(): string | null {
  return own('getfscreatecon', 'fscreate')
}

/**
 * `int getkeycreatecon(char **context)`: the context that new keyrings get; null where
 * the policy decides.
 * By lsm_get_self_attr(2) since Linux 6.8, by /proc/thread-self/attr on older kernels. Since Linux 2.6.18.
 *
 * Acts on: the calling thread. Needs no privilege.
 *
 * | errno      | when |
 * |------------|------|
 * | EOPNOTSUPP | SELinux is off |
 * | EACCES     | before 6.8: policy forbids (process:getattr) |
 * | ENOENT     | before 6.8: no procfs at /proc |
 *
 * See `man 3 getkeycreatecon`, `man 2 lsm_get_self_attr`.
 */
export function getkeycreatecon(): string | null {
  return own('getkeycreatecon', 'keycreate')
}

/**
 * `int getsockcreatecon(char **context)`: the context that new sockets get; null where
 * the policy decides.
 * By lsm_get_self_attr(2) since Linux 6.8, by /proc/thread-self/attr on older kernels. Since Linux 2.6.18.
 *
 * Acts on: the calling thread. Needs no privilege.
 *
 * | errno      | when |
 * |------------|------|
 * | EOPNOTSUPP | SELinux is off |
 * | EACCES     | before 6.8: policy forbids (process:getattr) |
 * | ENOENT     | before 6.8: no procfs at /proc |
 *
 * See `man 3 getsockcreatecon`, `man 2 lsm_get_self_attr`.
 */
export function getsockcreatecon(): string | null {
  return own('getsockcreatecon', 'sockcreate')
}

/**
 * `int getpidcon(pid_t pid, char **context)`: the context of a process; of a single thread by
 * its own number.
 * Since Linux 2.6.
 *
 * Acts on: a process of the pid namespace that /proc shows. Needs no privilege, but policy has to allow
 * process:getattr.
 *
 * | errno         | when |
 * |---------------|------|
 * | EOPNOTSUPP    | SELinux is off |
 * | ENOENT, ESRCH | there is no such process, or no procfs at /proc |
 * | EACCES        | policy forbids (process:getattr) |
 *
 * See `man 3 getpidcon`.
 */
export function getpidcon(pid: number): string {
  return ofPid('getpidcon', pid, 'current') ?? ''
}

/**
 * `int getpidprevcon(pid_t pid, char **context)`: the context of a process before its last
 * execve.
 * Since Linux 2.6.
 *
 * Acts on: a process of the pid namespace that /proc shows. Needs no privilege, but policy has to allow
 * process:getattr.
 *
 * Errnos: those of `getpidcon`.
 *
 * See `man 3 getpidprevcon`.
 */
export function getpidprevcon(pid: number): string {
  return ofPid('getpidprevcon', pid, 'prev') ?? ''
}

/** The files of /proc/PID/attr; null is what was not set. */
export type Attributes = Readonly<
  Record<'current' | 'prev', string> & Record<'exec' | 'fscreate' | 'keycreate' | 'sockcreate', string | null>
>

/**
 * `/proc/PID/attr/*`: all attributes of a process: what `getpidcon` and `getpidprevcon` tell, and what it has
 * set for the things that it will make, for which libselinux has names only where they are one's own.
 * Since Linux 2.6.
 *
 * Acts on: a process of the pid namespace that /proc shows. Needs no privilege, but policy has to allow
 * process:getattr.
 *
 * Errnos: those of `getpidcon`.
 *
 * See `man 5 proc`.
 */
export function getpidattr(pid: number): Attributes {
  const of = (attribute: Attribute): string | null => ofPid('getpidattr', pid, attribute)
  return {
    current: of('current') ?? '',
    prev: of('prev') ?? '',
    exec: of('exec'),
    fscreate: of('fscreate'),
    keycreate: of('keycreate'),
    sockcreate: of('sockcreate'),
  }
}
