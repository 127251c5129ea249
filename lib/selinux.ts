// What libselinux has, mostly under its names: labels are read and decided upon without it.
import { readFileSync } from 'node:fs'
import { KernelError, outOfRange, show } from './errors.ts'
import { enabled, requireSelinux } from './selinux/enabled.ts'
import * as policy from './selinux/policy.ts'

export { Context, type ContextFields, type ContextLike, Level, Range } from './selinux/context.ts'
export { requireSelinux } from './selinux/enabled.ts'
export type { Decision, PolicyBoolean, SelinuxOn, SelinuxStatus } from './selinux/policy.ts'

const OWN = '/proc/thread-self/attr/current'

function readLabel(path: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/[\0\n]+$/, '')
  } catch (error) {
    const { errno, syscall } = error as NodeJS.ErrnoException
    if (errno === undefined) throw error
    throw new KernelError({ errno: -errno, syscall: syscall ?? 'read', path, cause: error })
  }
}

/**
 * `int getcon(char **context)`: the context of the calling thread, e.g.
 * `unconfined_u:unconfined_r:unconfined_t:s0`.
 *
 * Acts on: the calling thread. Throws a `KernelError`: EOPNOTSUPP where SELinux is off. See `man 3 getcon`.
 */
function getcon(): string {
  requireSelinux('getcon')
  return readLabel(OWN)
}

/**
 * `int getpidcon(pid_t pid, char **context)`: the context of a process.
 *
 * Acts on: a process of the pid namespace that /proc shows. Throws a `KernelError`: EOPNOTSUPP where SELinux
 * is off, ENOENT or ESRCH when there is no such process, EACCES when policy forbids (process:getattr). See
 * `man 3 getpidcon`.
 */
function getpidcon(pid: number): string {
  if (!Number.isInteger(pid) || pid < 1 || pid > 0x7fff_ffff)
    throw outOfRange('getpidcon: pid', `no pid: ${show(pid)}`)
  requireSelinux('getpidcon')
  return readLabel(`/proc/${String(pid)}/attr/current`)
}

/** Labels are per thread: what is asked of oneself is asked of the calling thread, at once. */
export const selinux = { enabled, getcon, getpidcon, ...policy } as const
