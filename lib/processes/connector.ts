// Starts and ends as the kernel tells them: the proc connector.
import { errnoName, KernelError } from '../errors.ts'
import { disown, own } from '../fd.ts'
import { native } from '../native.ts'
import { EPOLLIN, poll } from '../poll.ts'
import { ps } from '../ps.ts'
import { exitOf, open, type ProcessHandle } from './handle.ts'
import type { Source, ExitEvent, ProcessEvent } from './watch.ts'

const ROW = 4
const START = 1
const EXEC = 2
const EXIT = 3
const THREAD = 4
const OVERRUN = 5

/** The kernel has it and gives it only to others; in a network namespace nobody listens. */
const unavailable = ['EAGAIN', 'EPERM', 'EACCES', 'ECONNREFUSED', 'EPROTONOSUPPORT']

const HINT =
  'the proc connector is for root in the initial pid, user and network namespaces; polling is for everybody'

/** The socket; undefined where this process may not have one, unless it must. */
export function connector(must: boolean, notify: () => void): Source | undefined {
  const fd = native().connectorOpen()
  if (fd >= 0) {
    try {
      return new Connector(fd, notify)
    } catch (error) {
      native().connectorClose(fd)
      throw error
    }
  }
  const refused = unavailable.includes(errnoName(-fd))
  if (refused && !must) return undefined
  const hint = refused ? HINT : undefined
  throw new KernelError({ errno: -fd, syscall: 'netlink', path: 'NETLINK_CONNECTOR', hint })
}

class Connector implements Source {
  readonly source = 'connector'
  readonly #fd: number
  readonly #notify: () => void
  readonly #stop: () => void
  /** The kernel's socket is the queue: what nobody takes fills that, and then is an overrun. */
  readonly #rows = new Int32Array(256 * ROW)
  readonly #lost = new Float64Array(1)
  #count = 0
  #next = 0
  readonly #late: ProcessEvent[] = []
  /** Processes with more than one thread: the exit of their first thread need not be theirs. */
  readonly #threaded = new Set<number>()
  readonly #ending = new Map<number, { exit: ExitEvent; handle: ProcessHandle }>()
  #closed = false
  ready: Promise<void>

  constructor(fd: number, notify: () => void) {
    this.#fd = fd
    this.#notify = notify
    this.#stop = poll(fd, EPOLLIN, notify)
    own(fd)
    this.ready = this.#survey()
    this.ready.catch(() => undefined)
  }

  /** Whose threads have started unseen. */
  async #survey(): Promise<void> {
    for (const { pid, threads } of await ps({ fields: ['pid', 'threads'] })) {
      if (threads > 1) this.#threaded.add(pid)
    }
  }

  take(): ProcessEvent | undefined {
    for (;;) {
      const late = this.#late.shift()
      if (late) return late
      if (this.#next === this.#count) {
        this.#next = 0
        this.#count = this.#read()
        if (this.#count === 0) return undefined
      }
      const at = ROW * this.#next++
      const [kind = 0, pid = 0, parent = 0, status = 0] = this.#rows.subarray(at, at + ROW)
      this.#follow(kind, pid, parent, status)
    }
  }

  #read(): number {
    const count = native().connectorRead(this.#fd, this.#rows, this.#lost)
    if (count < 0) throw new KernelError({ errno: -count, syscall: 'recvfrom' })
    return count
  }

  #follow(kind: number, pid: number, ppid: number, status: number): void {
    switch (kind) {
      case START:
        // Its predecessor of the same pid is told first.
        this.#end(pid)
        this.#late.push({ type: 'start', pid, ppid })
        return
      case EXEC:
        // It has ended all other threads, among them the first, if another has called execve.
        this.#forget(pid)
        this.#late.push({ type: 'exec', pid })
        return
      case THREAD:
        this.#threaded.add(pid)
        return
      case OVERRUN:
        this.ready = this.#survey()
        this.ready.catch(() => undefined)
        this.#late.push({ type: 'overrun' })
        return
      case EXIT: {
        const exit: ExitEvent = { type: 'exit', pid, ...exitOf(status) }
        if (this.#threaded.has(pid)) this.#whenAllHaveEnded(exit)
        else this.#late.push(exit)
      }
    }
  }

  /** The status is that of the first thread, and the process's unless that had ended before the others. */
  #whenAllHaveEnded(exit: ExitEvent): void {
    const { pid } = exit
    if (this.#ending.has(pid)) return
    let handle: ProcessHandle
    try {
      handle = open(pid)
    } catch {
      // It is gone, or we have no descriptor left to ask.
      this.#threaded.delete(pid)
      this.#late.push(exit)
      return
    }
    this.#ending.set(pid, { exit, handle })
    handle.exited.then(
      (status) => {
        if (this.#ending.get(pid)?.handle !== handle) return
        this.#end(pid, status.code === undefined ? exit : { type: 'exit', pid, ...status })
        this.#notify()
      },
      () => undefined,
    )
  }

  #end(pid: number, exit = this.#ending.get(pid)?.exit): void {
    this.#forget(pid)
    if (exit) this.#late.push(exit)
  }

  #forget(pid: number): void {
    this.#threaded.delete(pid)
    this.#ending.get(pid)?.handle.close()
    this.#ending.delete(pid)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#stop()
    for (const pid of this.#ending.keys()) this.#forget(pid)
    disown(this.#fd)
    native().connectorClose(this.#fd)
  }
}
