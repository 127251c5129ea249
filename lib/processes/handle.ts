// A process that is not our child, held by a pidfd: pidfd_open(2).
import { readFileSync, readlinkSync } from 'node:fs'
import { type Deferred, deferred } from '../deferred.ts'
import { check, errnoName, invalid, show } from '../errors.ts'
import { Fd } from '../fd.ts'
import { native } from '../native.ts'
import { reference } from '../children.ts'
import { type Signal, signalName, signalNumber } from '../options.ts'
import { EPOLLHUP, EPOLLIN, poll } from '../poll.ts'
import { pidfdOf, pidOf, type ProcessLike } from '../pinned.ts'
import { ps } from '../ps.ts'
import { integer } from '../steps/arguments.ts'
import type { ProcessField, ProcessInfo } from './info.ts'

/** How it ended: one of the two, and null; both are undefined where the kernel does not tell us. */
export type ForeignExit =
  | { code: number; signal: null }
  | { code: null; signal: NodeJS.Signals }
  | { code: undefined; signal: undefined }

/** From a status of wait(2). */
export function exitOf(status: number): ForeignExit {
  const signal = status & 0x7f
  return signal === 0
    ? { code: (status >> 8) & 0xff, signal: null }
    : { code: null, signal: signalName(signal) }
}

const UNKNOWN: ForeignExit = { code: undefined, signal: undefined }

/** How long a status is waited for that the kernel tells only after the process has been reaped, in milliseconds. */
const REAPING = 200

const getfdHints: Readonly<Record<string, string>> = {
  EPERM:
    'it takes what ptrace does: the same user and no more capabilities than we have, or CAP_SYS_PTRACE; and Yama, seccomp ' +
    'or a security module may forbid it',
  EBADF: 'the process has no such descriptor',
}

/**
 * A process of anybody's, for as long as you hold it: what is done goes to this process, and never to one that is given
 * its pid later. It is closed by `using`, or by `close()`; the process is left alone.
 */
export class ProcessHandle implements Disposable {
  /** In this process's pid namespace. */
  readonly pid: number
  /** Owned by the handle: `pidfd.dup()` for one of your own. */
  readonly pidfd: Fd

  #exited: Deferred<ForeignExit> | undefined
  #stop: (() => void) | undefined
  #timer: NodeJS.Timeout | undefined
  #ref = true

  /** @internal They come from processes.open(). */
  constructor(pid: number, pidfd: Fd) {
    this.pid = pid
    this.pidfd = pidfd
  }

  /**
   * Resolves when the process has ended, also if that was before. From the first use on it keeps the event loop alive, see `unref`.
   *
   * The status of a stranger is told by the kernel since Linux 6.15, once its parent has reaped it, to everybody; before,
   * and on earlier kernels, as long as it is a zombie, to those who may ptrace it. Otherwise `code` and `signal` are undefined.
   *
   * Rejects with an AbortError when the handle is closed before the process has ended.
   */
  get exited(): Promise<ForeignExit> {
    if (this.#exited) return this.#exited.promise
    const end = (this.#exited = deferred<ForeignExit>())
    try {
      if (this.pidfd.closed) end.reject(closed())
      else this.#watch(end)
    } catch (error) {
      // There is no descriptor left to watch it by.
      end.reject(error as Error)
    }
    return end.promise
  }

  #watch(end: Deferred<ForeignExit>): void {
    const settle = (): void => {
      this.#unwatch()
      end.resolve(this.#status() ?? UNKNOWN)
    }
    this.#stop = poll(this.pidfd, EPOLLIN, (events) => {
      // It was reaped; or its status is known; or it never will be.
      if (events & EPOLLHUP || this.#status() || !tellsLater(this.pidfd)) settle()
      else this.#timer ??= setTimeout(settle, REAPING)
    })
    if (!this.#ref) reference(-1)
  }

  #status(): ForeignExit | undefined {
    const status = native().pidfdExit(this.pidfd.fd)
    if (status >= 0) return exitOf(status)
    const zombies = zombieStatus(this.pid)
    // It is still there, so it was this one's.
    return zombies !== undefined && this.#signal(0) !== 'ESRCH' ? exitOf(zombies) : undefined
  }

  #unwatch(): void {
    if (!this.#stop) return
    clearTimeout(this.#timer)
    if (!this.#ref) reference(1)
    this.#stop()
    this.#stop = undefined
  }

  #signal(number: number): string | undefined {
    const result = native().pidfdSendSignal(this.pidfd.fd, number)
    return result < 0 ? errnoName(-result) : undefined
  }

  /**
   * `int pidfd_send_signal(int pidfd, int sig, siginfo_t *info, unsigned int flags)`: sends a signal; 0 asks whether one
   * may. The first process of a pid namespace is not sent what it does not handle, unless from outside SIGKILL or SIGSTOP.
   *
   * Acts on: the process. Needs its user's id, or CAP_KILL.
   *
   * | errno  | when |
   * |--------|------|
   * | EPERM  | it is another user's |
   * | EINVAL | it is in a pid namespace that is not below ours |
   * | EBADF | the handle is closed |
   *
   * Since Linux 5.1. See `man 2 pidfd_send_signal`.
   *
   * @returns false when the process has ended, and has been reaped
   */
  kill(signal: Signal = 'SIGTERM'): boolean {
    const result = native().pidfdSendSignal(this.pidfd.fd, signalNumber(signal))
    if (result < 0 && errnoName(-result) === 'ESRCH') return false
    const hint = errnoName(-result) === 'EPERM' ? "another user's process: that takes CAP_KILL" : undefined
    check(result, 'pidfd_send_signal', { hint })
    return true
  }

  /**
   * `int pidfd_getfd(int pidfd, int targetfd, unsigned int flags)`: a copy of one of its descriptors, to the same open file.
   *
   * Acts on: this process. Needs what ptrace(2) does: the same user, or CAP_SYS_PTRACE.
   *
   * | errno | when |
   * |-------|------|
   * | EPERM | we may not ptrace it |
   * | EBADF | it has no such descriptor, or the handle is closed |
   * | ESRCH | it has ended |
   * | EMFILE | this process has no descriptor left |
   *
   * Since Linux 5.6. See `man 2 pidfd_getfd`.
   */
  getfd(fd: number): Fd {
    integer(fd, 'getfd: fd', 0, 0x7fff_ffff)
    const result = native().pidfdGetfd(this.pidfd.fd, fd)
    const hint = this.pidfd.closed ? undefined : getfdHints[errnoName(-result)]
    return new Fd(check(result, 'pidfd_getfd', { hint }), `fd ${String(fd)} of ${String(this.pid)}`)
  }

  /** What `ps()` tells of it; undefined when it has ended and been reaped. */
  async info<F extends ProcessField = ProcessField>(
    fields?: readonly F[],
  ): Promise<Pick<ProcessInfo, F> | undefined> {
    const [info] = await ps({ fields, pids: [this.pid] })
    // It is still there, so nobody else had its pid meanwhile.
    return this.#signal(0) === 'ESRCH' || this.pidfd.closed ? undefined : info
  }

  /** Has `exited`, once it was asked for, keep the event loop alive, as is so from the start. */
  ref(): void {
    if (this.#ref) return
    this.#ref = true
    if (this.#stop) reference(1)
    this.#timer?.ref()
  }

  unref(): void {
    if (!this.#ref) return
    this.#ref = false
    if (this.#stop) reference(-1)
    this.#timer?.unref()
  }

  /** Lets it go; the process runs on. */
  close(): void {
    const waited = this.#stop !== undefined
    this.#unwatch()
    this.pidfd.close()
    if (waited) this.#exited?.reject(closed())
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

function closed(): Error {
  return Object.assign(new Error('The handle was closed'), { name: 'AbortError', code: 'ABORT_ERR' })
}

/** Whether this kernel has the status once the process has been reaped. */
function tellsLater(pidfd: Fd): boolean {
  return errnoName(-native().pidfdExit(pidfd.fd)) === 'EAGAIN'
}

/** The last field of /proc/PID/stat, which is 0 for those who may not know: undefined. */
function zombieStatus(pid: number): number | undefined {
  try {
    readlinkSync(`/proc/${String(pid)}/ns/user`)
    return Number(/ (\d+)\n$/.exec(readFileSync(`/proc/${String(pid)}/stat`, 'latin1'))?.[1])
  } catch {
    return undefined
  }
}

/**
 * `int pidfd_open(pid_t pid, unsigned int flags)`: a handle for a process that need not be our child, by its pid; or by
 * a pidfd, or a handle that has one, of which it takes a copy.
 *
 * Acts on: nothing; the process does not notice. Needs no privilege.
 *
 * | errno | when |
 * |-------|------|
 * | ESRCH | there is no such process, it has been reaped, or it is in no pid namespace below ours |
 * | ENOENT, EINVAL | the id is that of a thread |
 * | EMFILE | this process has no descriptor left |
 *
 * Since Linux 5.3. See `man 2 pidfd_open`.
 */
export function open(process: ProcessLike): ProcessHandle {
  const pidfd = pidfdOf(process, 'open: process')
  if (!pidfd)
    throw invalid('open: process', `expected a pid, a pidfd or a handle that has one, got ${show(process)}`)
  try {
    return new ProcessHandle(pidOf(pidfd), pidfd)
  } catch (error) {
    pidfd.close()
    throw error
  }
}
