// Is SELinux on, and what else is.
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { KernelError } from '../errors.ts'

export function quietly<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

/**
 * `int is_selinux_enabled(void)`: is SELinux on in this kernel? That is, it was not disabled at boot, and a policy
 * is loaded. Since Linux 2.6.
 *
 * Acts on: nothing. Needs /proc.
 *
 * Errnos: none. What cannot be read counts as off.
 *
 * See `man 3 is_selinux_enabled`.
 */
export function enabled(): boolean {
  const filesystems = quietly(() => readFileSync('/proc/filesystems', 'utf8')) ?? ''
  if (!/\tselinuxfs$/m.test(filesystems)) return false
  // Before a policy is loaded every task is 'kernel', and the kernel takes any context without applying it.
  return quietly(() => readFileSync('/proc/thread-self/attr/current', 'utf8'))?.includes(':') ?? false
}

/** What to say where it is off: with which security modules this kernel has on, as far as it says. */
export function offHint(): string {
  const on = quietly(() => readFileSync('/sys/kernel/security/lsm', 'utf8').trim())
  return on === undefined ? 'SELinux is off on this kernel' : `SELinux is off on this kernel; on are ${on}`
}

/** Throws where SELinux is off: a label that nobody reads must not be taken for one. */
export function requireSelinux(syscall = 'setexeccon', path?: string): void {
  if (enabled()) return
  throw new KernelError({ errno: constants.errno.EOPNOTSUPP, syscall, path, hint: offHint() })
}
