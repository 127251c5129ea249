// A process that is held while something of it is read: whatever becomes of its pid, all that is read is its own.
import { constants, readFileSync, readlinkSync } from 'node:fs'
import { check, errnoName, errnoNumber, invalid, KernelError, outOfRange, show } from './errors.ts'
import { Fd, type FdLike, fdNumber, isFdLike, openFd } from './fd.ts'
import { native } from './native.ts'

const ESRCH = errnoNumber('ESRCH') ?? 3
const O_PATH = 0o1000_0000

/** A process, by its pid, a pidfd, or a handle that has one. */
export type ProcessLike = number | FdLike | { readonly pidfd: Fd | undefined }

function gone(what: string): KernelError {
  return new KernelError({ errno: ESRCH, syscall: 'pidfd_open', hint: `${what} has ended` })
}

/** What node:fs was refused, as a KernelError. */
export function refused(error: unknown, path: string, hint?: string): unknown {
  const { errno, syscall } = error as NodeJS.ErrnoException
  if (errno === undefined) return error
  return new KernelError({ errno: -errno, syscall: syscall ?? 'open', path, hint, cause: error })
}

const FOREIGN =
  "to look at another's process takes his uid and capabilities, or CAP_SYS_PTRACE in his user namespace; " +
  'one that is not dumpable is root’s'

/** Held by a pidfd and its directory in /proc, both of the same process. */
export class Pinned {
  readonly pidfd: Fd
  readonly pid: number
  readonly #directory: Fd

  /** Takes ownership of the pidfd. */
  constructor(pidfd: Fd) {
    this.pidfd = pidfd
    try {
      this.pid = pidOf(pidfd)
      this.#directory = openDirectory(this.pid)
    } catch (error) {
      pidfd.close()
      throw error
    }
    try {
      // It still has its pid, so the directory was not that of another who got the number.
      pidOf(pidfd)
    } catch (error) {
      this.close()
      throw error
    }
  }

  /** Something of it, e.g. 'ns/net', looked at by a path for us. ESRCH when it has ended. */
  look<T>(file: string, look: (path: string) => T): T {
    try {
      return look(this.#path(file))
    } catch (error) {
      throw this.#refusal(error, file)
    }
  }

  /** The same for what takes its time. */
  async lookLater<T>(file: string, look: (path: string) => Promise<T>): Promise<T> {
    try {
      return await look(this.#path(file))
    } catch (error) {
      throw this.#refusal(error, file)
    }
  }

  #refusal(error: unknown, file: string): unknown {
    if (error instanceof KernelError) return error
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ESRCH' || (code === 'ENOENT' && !this.#lives())) return gone(`process ${String(this.pid)}`)
    return refused(
      error,
      `/proc/${String(this.pid)}/${file}`,
      code === 'EACCES' || code === 'EPERM' ? FOREIGN : undefined,
    )
  }

  #path(file: string): string {
    return `/proc/self/fd/${String(this.#directory.fd)}/${file}`
  }

  /** A zombie has neither namespaces nor memory. */
  #lives(): boolean {
    try {
      const stat = readFileSync(this.#path('stat'), 'latin1')
      return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2))
    } catch {
      return false
    }
  }

  close(): void {
    this.pidfd.close()
    this.#directory.close()
  }
}

function openDirectory(pid: number): Fd {
  const path = `/proc/${String(pid)}`
  try {
    return new Fd(openFd(path, O_PATH | constants.O_DIRECTORY), path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw code === 'ENOENT' ? gone(`process ${String(pid)}`) : refused(error, path)
  }
}

/** The pid, in our /proc, of a pidfd's process. */
export function pidOf(pidfd: Fd): number {
  const info = readFileSync(`/proc/self/fdinfo/${String(pidfd.fd)}`, 'latin1')
  const pid = Number(/^Pid:\s*(-?\d+)$/m.exec(info)?.[1] ?? -1)
  if (pid > 0) return pid
  if (pid < 0) throw gone('the process of this pidfd')
  const hint = 'the process of this pidfd is in a pid namespace that our /proc does not show'
  throw new KernelError({ errno: ESRCH, syscall: 'pidfd_open', hint })
}

/** Where the link of an open fd leads: 'anon_inode:[pidfd]', 'net:[4026531833]', a path. */
export function linkOf(fd: number, argument: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${String(fd)}`)
  } catch {
    throw invalid(argument, `fd ${String(fd)} is not open`)
  }
}

/** Since Linux 6.9 they are files of pidfs. */
function isPidfd(link: string): boolean {
  return link === 'anon_inode:[pidfd]' || link.startsWith('pidfd:')
}

/** A pidfd of the process that is meant, which the caller closes; undefined for what means none. */
export function pidfdOf(target: unknown, argument: string): Fd | undefined {
  if (typeof target === 'number') return openPidfd(target, argument)
  if (typeof target !== 'object' || target === null) return undefined
  if ('pidfd' in target) {
    const { pidfd } = target
    if (pidfd !== undefined && !(pidfd instanceof Fd))
      throw invalid(`${argument}.pidfd`, `expected an Fd, got ${show(pidfd)}`)
    // A handle whose process has been reaped may have closed its own.
    if (pidfd === undefined || pidfd.closed) throw gone('the process')
    return pidfd.dup()
  }
  if (!isFdLike(target)) return undefined
  const fd = fdNumber(target, argument)
  if (!isPidfd(linkOf(fd, argument))) return undefined
  return new Fd(check(native().dup(fd), 'fcntl'), 'pidfd')
}

/** The process that is meant; undefined for what means none. Whose pidfd it was keeps it. */
export function pin(target: unknown, argument: string): Pinned | undefined {
  const pidfd = pidfdOf(target, argument)
  return pidfd && new Pinned(pidfd)
}

const THREAD = 'a thread that leads no process: take the pid of its process'

function openPidfd(pid: number, argument: string): Fd {
  if (!Number.isInteger(pid) || pid < 1 || pid > 0x7fff_ffff)
    throw outOfRange(argument, `no pid: ${show(pid)}`)
  const fd = native().pidfdOpen(pid)
  if (fd >= 0) return new Fd(fd, 'pidfd')
  const hints: Readonly<Record<string, string>> = {
    ESRCH: `there is no process ${String(pid)}`,
    // Newer kernels say ENOENT.
    EINVAL: THREAD,
    ENOENT: THREAD,
  }
  const hint = hints[errnoName(-fd)]
  throw new KernelError({ errno: -fd, syscall: 'pidfd_open', hint })
}
