// Processes that start, execute a program, end: an async iterator.
import { checkSignal } from '../changes.ts'
import { invalid, show } from '../errors.ts'
import { integer, options as checkOptions } from '../steps/arguments.ts'
import { connector } from './connector.ts'
import type { ForeignExit } from './handle.ts'
import { polling } from './polling.ts'

export type ExitEvent = {
  type: 'exit'
  pid: number
} & ForeignExit

/**
 * `start`: it was forked, and is still what its parent is. `exec`: it runs another program; only from the connector.
 * `exit`: it has ended, and how, where the kernel tells. `overrun`: events have been lost here, as they were not taken fast
 * enough: whoever keeps a list makes a new one, by `ps()`.
 */
export type ProcessEvent =
  | { type: 'start'; pid: number; ppid: number }
  | { type: 'exec'; pid: number }
  | ExitEvent
  | { type: 'overrun' }

/** Where events come from. */
export interface Source {
  readonly source: 'connector' | 'polling'
  /** The first event may be taken. */
  readonly ready: Promise<void>
  take: () => ProcessEvent | undefined
  close: () => void
}

export interface WatchProcessesOptions {
  /** Ends it: the iteration throws its reason. */
  signal?: AbortSignal | undefined
  /** 'connector' fails where the kernel does not give it; default: whatever there is. */
  source?: 'connector' | 'polling' | undefined
  /** Milliseconds between two listings, when polling. Default: 1000. */
  interval?: number | undefined
}

/** What `processes.watch()` gives. */
export class ProcessWatch implements AsyncIterableIterator<ProcessEvent, undefined>, AsyncDisposable {
  readonly #source: Source
  readonly #signal: AbortSignal | undefined
  #wake = (): void => undefined
  #over = false
  /** One next() after the other. */
  #turn: Promise<unknown> = Promise.resolve()

  /** @internal */
  constructor(open: (notify: () => void) => Source, signal: AbortSignal | undefined) {
    signal?.throwIfAborted()
    this.#signal = signal
    this.#source = open(() => {
      this.#wake()
    })
    signal?.addEventListener('abort', this.#end)
  }

  /**
   * `connector`: the kernel tells of every process, in order. `polling`: what has started and ended between two listings
   * is missed, nothing is told of exec, and how a process ended is known as far as `processes.open` knows it.
   */
  get source(): 'connector' | 'polling' {
    return this.#source.source
  }

  next(): Promise<IteratorResult<ProcessEvent, undefined>> {
    const result = this.#turn.then(() => this.#next())
    this.#turn = result.catch(() => undefined)
    return result
  }

  async #next(): Promise<IteratorResult<ProcessEvent, undefined>> {
    try {
      for (;;) {
        // Before the look, so that no event is missed.
        const change = new Promise<void>((resolve) => (this.#wake = resolve))
        if (!this.#over) await this.#source.ready
        this.#signal?.throwIfAborted()
        if (this.#isOver()) return { done: true, value: undefined }
        const value = this.#source.take()
        if (value) return { done: false, value }
        await change
      }
    } catch (error) {
      this.#end()
      throw error
    }
  }

  #isOver(): boolean {
    return this.#over
  }

  readonly #end = (): void => {
    this.#signal?.removeEventListener('abort', this.#end)
    this.#over = true
    this.#source.close()
    this.#wake()
  }

  /** Ends it, also a `next()` that still waits. */
  return(): Promise<IteratorResult<ProcessEvent, undefined>> {
    this.#end()
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }
}

/**
 * `NETLINK_CONNECTOR`, `CN_IDX_PROC`: processes of this machine that start, execute a program, and end, from this call on: `for await`, until the loop is left
 * or `signal` aborts. Whoever wants all processes calls it first, then `ps()`, and misses none in between.
 *
 * They come from the kernel's proc connector (`source` is 'connector') where it gives it: to root in the initial pid, user
 * and network namespaces, and there to everybody since Linux 6.6. Else /proc is listed every `interval` milliseconds
 * ('polling'), and each process held by a pidfd, which costs two descriptors each. Half of RLIMIT_NOFILE is
 * used at the most: of a process that is beyond it the next listing tells that it has ended.
 *
 * Acts on: nothing. Needs no privilege; what they are called, and who they are, is told as far as `ps` may look.
 *
 * | errno | when |
 * |-------|------|
 * | EAGAIN, EPERM, ECONNREFUSED | the connector was asked for, and is not to be had |
 * | EMFILE | this process has no descriptor left |
 *
 * Since Linux 5.10. See `man 7 netlink`, `man 5 proc`.
 */
export function watch(options: WatchProcessesOptions = {}): ProcessWatch {
  const given = checkOptions<WatchProcessesOptions>(options, 'watch', ['signal', 'source', 'interval'])
  const { source, interval = 1000 } = given
  if (source !== undefined && !['connector', 'polling'].includes(source))
    throw invalid('watch: source', `expected 'connector' or 'polling', got ${show(source)}`)
  integer(interval, 'watch: interval', 1, 0x7fff_ffff)
  return new ProcessWatch(
    (notify) =>
      (source === 'polling' ? undefined : connector(source !== undefined, notify)) ??
      polling(interval, notify),
    checkSignal(given.signal, 'watch: signal'),
  )
}
