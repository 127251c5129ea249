import { inspect } from 'node:util'
import { check, errnoName, invalid, show } from './errors.ts'
import { native } from './native.ts'

const abandoned = new FinalizationRegistry<{ fd: number; what: string }>(({ fd, what }) => {
  native().close(fd)
  process.emitWarning(
    `Closed fd ${String(fd)} (${what}) on garbage collection; close it, or declare it with 'using'.`,
  )
})

// Not imported: that takes 2 ms of the `import` of this package.
const inWorker = (): boolean => !process.getBuiltinModule('node:worker_threads').isMainThread

/** A Worker may end at any time, and what it has open is closed then: nobody else will. */
export function own(fd: number): void {
  if (inWorker()) native().own(fd)
}

export function disown(fd: number): void {
  if (inWorker()) native().disown(fd)
}

/**
 * `open(2)`, for a descriptor that an `Fd` or native code closes. Those of node:fs belong to node:fs, which closes their
 * numbers when a Worker ends, whoever has them by then. Throws as node:fs does.
 */
export function openFd(path: string, flags: number, mode = 0): number {
  const fd = native().open(path, flags, mode)
  if (fd >= 0) return fd
  const code = errnoName(-fd)
  throw Object.assign(new Error(`${code}, open '${path}'`), { errno: fd, code, syscall: 'open', path })
}

/**
 * An owned file descriptor: a cgroup, a namespace, a detached mount, a pidfd, a pty, a socket.
 * It is closed by `close()` or by `using`; a spawn that is given one works on a copy, so it may be closed right after.
 */
export class Fd {
  readonly #what: string
  #fd: number

  /** Takes ownership of an open descriptor. */
  constructor(fd: number, what = 'fd') {
    if (!Number.isInteger(fd) || fd < 0)
      throw invalid('fd', `expected a descriptor's number, got ${show(fd)}`)
    this.#fd = fd
    this.#what = what
    abandoned.register(this, { fd, what }, this)
    own(fd)
  }

  /** The number, or -1 once closed. */
  get fd(): number {
    return this.#fd
  }

  get closed(): boolean {
    return this.#fd < 0
  }

  /** A second descriptor for the same thing: `fcntl(fd, F_DUPFD_CLOEXEC)`. */
  dup(): Fd {
    return new Fd(check(native().dup(this.#fd), 'fcntl'), this.#what)
  }

  /** Gives up ownership: the number, which the caller closes. */
  release(): number {
    const fd = this.#fd
    this.#fd = -1
    abandoned.unregister(this)
    disown(fd)
    return fd
  }

  /** Closing twice is no error. */
  close(): void {
    if (this.#fd >= 0) native().close(this.release())
  }

  [Symbol.dispose](): void {
    this.close()
  }

  [inspect.custom](): string {
    return `Fd(${this.toString()})`
  }

  toString(): string {
    return this.closed ? `${this.#what} (closed)` : `${this.#what} ${String(this.#fd)}`
  }
}

/** A descriptor of the caller: an `Fd`, anything with a `fd` (a FileHandle, a socket), or the number. */
export type FdLike = number | { readonly fd: number }

export function isFdLike(value: unknown): value is FdLike {
  return (
    typeof value === 'number' ||
    (typeof value === 'object' && value !== null && 'fd' in value && typeof value.fd === 'number')
  )
}

export function fdNumber(value: FdLike, argument: string): number {
  const fd = typeof value === 'number' ? value : value.fd
  if (!Number.isInteger(fd) || fd < 0 || fd > 0x7fffffff) {
    throw invalid(
      argument,
      fd === -1 && typeof value === 'object' ? 'this fd is closed' : `no fd: ${show(fd)}`,
    )
  }
  return fd
}
