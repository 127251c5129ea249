// What SELinux says about processes. Labels belong to threads: all of this reads on the calling one, at once.
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { KernelError, outOfRange, show } from './errors.ts'

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

function quietly<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

/** Is SELinux on in this kernel? That is, it was not disabled at boot, and a policy is loaded. */
function enabled(): boolean {
  const filesystems = quietly(() => readFileSync('/proc/filesystems', 'utf8')) ?? ''
  if (!/\tselinuxfs$/m.test(filesystems)) return false
  // Before a policy is loaded every task is 'kernel', and the kernel takes any context without applying it.
  return quietly(() => readLabel(OWN))?.includes(':') ?? false
}

/** Which security modules this kernel has on, as far as it says. */
function modules(): string | undefined {
  return quietly(() => readFileSync('/sys/kernel/security/lsm', 'utf8').trim())
}

/** Throws where SELinux is off: a label that nobody reads must not be taken for one. */
export function requireSelinux(syscall = 'setexeccon', path?: string): void {
  if (enabled()) return
  const on = modules()
  const hint =
    on === undefined ? 'SELinux is off on this kernel' : `SELinux is off on this kernel; on are ${on}`
  throw new KernelError({ errno: constants.errno.EOPNOTSUPP, syscall, path, hint })
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

/** What `libselinux` has for the same questions, under its names. */
export const selinux = { enabled, getcon, getpidcon } as const
