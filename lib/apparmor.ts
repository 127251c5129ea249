// What AppArmor says about processes. A profile belongs to a thread: all of this reads on the calling one, at once.
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { KernelError, outOfRange, show } from './errors.ts'

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return undefined
  }
}

/**
 * `int aa_is_enabled(void)`: is AppArmor on in this kernel? That is, it was not disabled at boot. Since Linux
 * 2.6.36.
 *
 * Acts on: nothing. Needs /sys.
 *
 * Errnos: none. What cannot be read counts as off.
 *
 * See `man 2 aa_is_enabled`.
 */
function enabled(): boolean {
  return read('/sys/module/apparmor/parameters/enabled') === 'Y'
}

/** Throws where AppArmor is off: a profile that nobody enforces must not be taken for one. */
export function requireAppArmor(syscall: string, path?: string): void {
  if (enabled()) return
  const on = read('/sys/kernel/security/lsm')
  const hint =
    on === undefined ? 'AppArmor is off on this kernel' : `AppArmor is off on this kernel; on are ${on}`
  throw new KernelError({ errno: constants.errno.EOPNOTSUPP, syscall, path, hint })
}

export interface Confinement {
  /** The profile, or a stack of them: 'one//&two'; 'unconfined' without one. */
  label: string
  /** 'enforce', 'complain', 'kill', 'unconfined', 'mixed'; undefined without a profile. */
  mode: string | undefined
}

function parse(text: string): Confinement {
  const [, label = text, mode] = /^(.*) \((\w+)\)$/s.exec(text) ?? []
  return { label, mode }
}

function confinement(path: string, syscall: string): Confinement {
  requireAppArmor(syscall)
  try {
    return parse(readFileSync(path, 'utf8').replace(/[\0\n]+$/, ''))
  } catch (error) {
    const { errno, syscall: failed } = error as NodeJS.ErrnoException
    if (errno === undefined) throw error
    throw new KernelError({ errno: -errno, syscall: failed ?? 'read', path, cause: error })
  }
}

/**
 * `int aa_getcon(char **label, char **mode)`: what confines the calling thread. By
 * /proc/thread-self/attr/apparmor/current. Since Linux 5.8.
 *
 * Acts on: the calling thread. Needs no privilege.
 *
 * | errno      | when |
 * |------------|------|
 * | EOPNOTSUPP | AppArmor is off |
 * | ENOENT     | no procfs at /proc |
 *
 * See `man 2 aa_getcon`.
 */
function getcon(): Confinement {
  return confinement('/proc/thread-self/attr/apparmor/current', 'aa_getcon')
}

/**
 * `int aa_gettaskcon(pid_t task, char **label, char **mode)`: what confines a process. By
 * /proc/PID/attr/apparmor/current. Since Linux 5.8.
 *
 * Acts on: a process of the pid namespace that /proc shows. Needs no privilege, unless our own profile forbids it.
 *
 * | errno         | when |
 * |---------------|------|
 * | EOPNOTSUPP    | AppArmor is off |
 * | ENOENT, ESRCH | there is no such process |
 * | EACCES        | our own profile forbids it |
 *
 * See `man 2 aa_gettaskcon`.
 */
function gettaskcon(pid: number): Confinement {
  if (!Number.isInteger(pid) || pid < 1 || pid > 0x7fff_ffff)
    throw outOfRange('gettaskcon: pid', `no pid: ${show(pid)}`)
  return confinement(`/proc/${String(pid)}/attr/apparmor/current`, 'aa_gettaskcon')
}

/** What `libapparmor` has for the same questions, under its names. */
export const apparmor = { enabled, getcon, gettaskcon } as const
