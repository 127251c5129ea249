import { readSync, write } from 'node:fs'
import { ReadStream } from 'node:tty'
import { check, outOfRange, show } from './errors.ts'
import { native } from './native.ts'

const RETRY_MILLISECONDS = 5

export const over: unique symbol = Symbol('over')

function side(value: number, argument: string): number {
  if (!Number.isInteger(value) || value < 1 || value > 65535) {
    throw outOfRange(argument, `expected 1 to 65535, got ${show(value)}`)
  }
  return value
}

function* remaining(fd: number): Generator<Buffer> {
  const buffer = Buffer.alloc(4096)
  try {
    for (let length; (length = readSync(fd, buffer)) > 0;) yield Buffer.from(buffer.subarray(0, length))
  } catch {
    // EIO
  }
}

/** The master's side of a pseudo-terminal: a tty stream, read and written, that ends when the last slave is closed. */
export class Pty extends ReadStream {
  readonly fd: number
  #hungUp = false
  #writing = false
  #inUse = true
  #close: (() => void) | undefined

  constructor(fd: number) {
    check(native().setNonblocking(fd), 'fcntl')
    super(fd)
    this.fd = fd
  }

  /**
   * `ioctl(master, TIOCSWINSZ, const struct winsize *)`: the size in characters; the kernel sends SIGWINCH to the foreground
   * process group.
   *
   * Acts on: the terminal. Needs no privilege.
   *
   * Errnos: none.
   *
   * Since Linux 1.0. See `man 2 ioctl_tty`.
   */
  resize(columns: number, rows: number): void {
    if (this.destroyed) return
    check(native().setWindowSize(this.fd, side(columns, 'columns'), side(rows, 'rows')), 'ioctl')
  }

  // libuv would make writes to a master blocking, and a program that does not read its terminal would stop the event loop.
  override _write(
    chunk: Buffer | string,
    encoding: BufferEncoding,
    callback: (error?: Error | null) => void,
  ): void {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk
    const attempt = (offset: number): void => {
      if (this.destroyed || this.#hungUp) return callback()
      this.#writing = true
      write(this.fd, bytes, offset, bytes.length - offset, null, (error, written) => {
        this.#writing = false
        this.#close?.()
        if (error?.code === 'EAGAIN') setTimeout(attempt, RETRY_MILLISECONDS, offset)
        else if (error) callback(error.code === 'EIO' || error.code === 'EBADF' ? null : error)
        else if (offset + written < bytes.length) attempt(offset + written)
        else callback()
      })
    }
    attempt(0)
  }

  override _writev(
    chunks: { chunk: Buffer | string; encoding: BufferEncoding }[],
    callback: (error?: Error | null) => void,
  ): void {
    const parts = chunks.map(({ chunk, encoding }) =>
      typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk,
    )
    this._write(Buffer.concat(parts), 'utf8', callback)
  }

  // A terminal has no half that could be shut down: Ctrl-D is for the caller to write.
  override _final(callback: (error?: Error | null) => void): void {
    callback()
  }

  /** @internal The process whose terminal it is has ended. */
  [over](): void {
    this.#inUse = false
    this.#close?.()
  }

  // While another thread writes, the number must not become another file's. And a program that closes its descriptors
  // before it exits, as many do, would get a SIGHUP from the closing of the master.
  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#close = () => {
      if (this.#writing || (this.#hungUp && this.#inUse)) return
      this.#close = undefined
      super._destroy(error, callback)
    }
    this.#close()
  }

  // libuv takes a hang-up for the end, whatever there is still to be read: the kernel says EIO when that is nothing.
  override push(chunk: unknown, encoding?: BufferEncoding): boolean {
    if (chunk === null && !this.#hungUp) {
      this.#hungUp = true
      for (const rest of remaining(this.fd)) super.push(rest)
    }
    return super.push(chunk, encoding)
  }

  // EIO is how a master says that nobody holds the slave any more: an end, not a failure.
  override destroy(error?: Error): this {
    if (error && 'code' in error && error.code === 'EIO' && !this.#hungUp) {
      this.#hungUp = true
      this.push(null)
      return this
    }
    return super.destroy(error)
  }
}
