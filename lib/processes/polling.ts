// Starts and ends as far as listings and pidfds show them, for who is not given the kernel's own events.
import { readFileSync } from 'node:fs'
import { ps } from '../ps.ts'
import { open, type ProcessHandle } from './handle.ts'
import type { Source, ExitEvent, ProcessEvent } from './watch.ts'

interface Known {
  startTicks: number
  handle: ProcessHandle | undefined
}

/** So many may be held: two descriptors each, and half of all that this process may have. */
function most(): number {
  const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1]
  return soft === undefined ? Infinity : Math.floor(Number(soft) / 4)
}

/** Lists every `interval` milliseconds, and holds a pidfd of each process, so that its end is told at once. */
export function polling(interval: number, notify: () => void): Source {
  return new Polling(interval, notify)
}

class Polling implements Source {
  readonly source = 'polling'
  readonly ready: Promise<void>
  readonly #interval: number
  readonly #notify: () => void
  readonly #known = new Map<number, Known>()
  readonly #events: ProcessEvent[] = []
  readonly #most = most()
  #held = 0
  #timer: NodeJS.Timeout | undefined
  #error: Error | undefined
  #closed = false

  constructor(interval: number, notify: () => void) {
    this.#interval = interval
    this.#notify = notify
    this.ready = this.#list().then(() => {
      // Those of before.
      this.#events.length = 0
      this.#schedule()
    })
    this.ready.catch(() => undefined)
  }

  take(): ProcessEvent | undefined {
    const event = this.#events.shift()
    if (event === undefined && this.#error) throw this.#error
    return event
  }

  #schedule(): void {
    if (this.#closed) return
    this.#timer = setTimeout(() => {
      // Nobody takes what is there already.
      const listed = this.#events.length > 0 ? Promise.resolve() : this.#list()
      listed
        .catch((error: unknown) => {
          this.#error = error as Error
        })
        .finally(() => {
          this.#notify()
          if (!this.#error) this.#schedule()
        })
    }, this.#interval)
  }

  async #list(): Promise<void> {
    const rows = await ps({ fields: ['pid', 'ppid', 'startTicks'] })
    if (this.#closed) return
    const found = new Map(rows.map(({ pid, startTicks }) => [pid, startTicks]))
    for (const [pid, { startTicks }] of this.#known) {
      if (found.get(pid) !== startTicks) this.#end({ type: 'exit', pid, code: undefined, signal: undefined })
    }
    for (const { pid, ppid, startTicks } of rows) {
      if (this.#known.has(pid)) continue
      const known: Known = { startTicks, handle: this.#follow(pid) }
      this.#known.set(pid, known)
      this.#events.push({ type: 'start', pid, ppid })
    }
  }

  /** Undefined when it has ended by now, or there is no descriptor for it: the next listing tells. */
  #follow(pid: number): ProcessHandle | undefined {
    if (this.#held >= this.#most) return undefined
    let handle: ProcessHandle
    try {
      handle = open(pid)
    } catch {
      return undefined
    }
    this.#held++
    handle.exited.then(
      (status) => {
        if (this.#known.get(pid)?.handle !== handle) return
        this.#end({ type: 'exit', pid, ...status })
        this.#notify()
      },
      () => undefined,
    )
    return handle
  }

  #end(exit: ExitEvent): void {
    const handle = this.#known.get(exit.pid)?.handle
    handle?.close()
    if (handle) this.#held--
    this.#known.delete(exit.pid)
    this.#events.push(exit)
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    for (const { handle } of this.#known.values()) handle?.close()
    this.#known.clear()
  }
}
