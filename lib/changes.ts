// Async iterators over what the kernel only says "look again" of.
import { invalid, show } from './errors.ts'

/** `for await`, until the loop is left, the signal aborts, or there is nothing more to come. */
export interface Changes<T> extends AsyncIterableIterator<T, undefined>, AsyncDisposable {
  /** Also ends a `next()` that is still waiting. */
  return(): Promise<IteratorResult<T, undefined>>
}

/** Nothing more will come. */
export const END = Symbol('end')

export interface Source<T> {
  /** Calls `notify` from now on; what it gives ends that, and may be called twice. */
  subscribe: (notify: () => void) => (() => void) | Promise<() => void>
  /** What has changed since it was asked last; undefined: nothing. */
  look: () => Promise<T | undefined | typeof END>
}

export function checkSignal(signal: unknown, argument: string): AbortSignal | undefined {
  if (signal === undefined || signal instanceof AbortSignal) return signal
  throw invalid(argument, `expected an AbortSignal, got ${show(signal)}`)
}

/** Nothing is watched before the first `next()`, nor after the end. What comes while nobody waits is told at once, later. */
export function changes<T>({ subscribe, look }: Source<T>, signal: AbortSignal | undefined): Changes<T> {
  let over = false
  const isOver = (): boolean => over
  let wake = (): void => undefined
  let unsubscribe = (): void => undefined
  const stop = (): void => {
    unsubscribe()
    wake()
  }
  async function* run(): AsyncGenerator<T, undefined> {
    signal?.throwIfAborted()
    signal?.addEventListener('abort', stop)
    try {
      unsubscribe = await subscribe(() => {
        wake()
      })
      for (;;) {
        // Before the look, so that no change is missed.
        const change = new Promise<void>((resolve) => (wake = resolve))
        const found = await look()
        signal?.throwIfAborted()
        if (isOver() || found === END) return
        if (found !== undefined) yield found
        else await change
        signal?.throwIfAborted()
        if (isOver()) return
      }
    } finally {
      over = true
      unsubscribe()
      signal?.removeEventListener('abort', stop)
    }
  }
  const generator = run()
  const end = async (): Promise<IteratorResult<T, undefined>> => {
    over = true
    stop()
    return generator.return(undefined)
  }
  return {
    next: () => generator.next(),
    return: end,
    [Symbol.asyncIterator]() {
      return this
    },
    async [Symbol.asyncDispose]() {
      await end()
    },
  }
}
