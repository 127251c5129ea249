import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { isatty } from 'node:tty'
import { answer, follow, forget, type Held, readLabel, readResults, receive, reference } from './children.ts'
import { deferred } from './deferred.ts'
import { check, errnoName, KernelError } from './errors.ts'
import { debug } from './debug.ts'
import { type Exit, type Reason, type Usage, usageOf } from './exit.ts'
import { Fd } from './fd.ts'
import {
  EVENT_DATA,
  EVENT_ERROR,
  EVENT_EXIT,
  EVENT_FD,
  EVENT_HELD,
  EVENT_LABEL,
  EVENT_SPAWN,
  native,
} from './native.ts'
import { type Signal, signalName, signalNumber } from './options.ts'
import type { Result } from './plan.ts'
import { over, Pty } from './pty.ts'

/** How a setup failed, as the native side tells it. */
export interface SetupFailure {
  phase: number
  step: number
  errno: number
  call: number
  /** si_code and si_status of waitid(2), when there was a child. */
  code: number
  status: number
  /** Of the program that execve refused, where steps have set one. */
  label?: string | undefined
}

/** What spawn() hands over. */
export interface ProcessInit {
  file: string
  argv: string[]
  streams: (Socket | null)[]
  pty: Pty | undefined
  columns: number | undefined
  rows: number | undefined
  /** Names of the fds that steps send back. */
  names: string[]
  /** It is the first process of its pid namespace, where unhandled signals do nothing. */
  init: boolean
  killSignal: number | undefined
  /** Whether the OOM killer may have taken it. */
  oomKilled: (() => boolean) | undefined
  explain: (failure: SetupFailure) => Error
  held: Held
}

export interface ProcessEvents {
  spawn: []
  error: [Error]
  exit: [code: number | null, signal: NodeJS.Signals | null]
  close: [code: number | null, signal: NodeJS.Signals | null]
}

const CLD_EXITED = 1
const CLD_DUMPED = 3
const SIGKILL = 9
const SIGTERM = 15

export const begin: unique symbol = Symbol('begin')
export const refuse: unique symbol = Symbol('refuse')
export const stop: unique symbol = Symbol('stop')

/**
 * A process that spawn() started, shaped like Node's `ChildProcess`, and held by a pidfd: a signal never reaches a
 * stranger that was given its pid.
 *
 * Events: `spawn`, when its program runs; `error`, when it doesn't; `exit`; `close`, when its streams have ended too.
 */
export class Process extends EventEmitter<ProcessEvents> {
  readonly spawnfile: string
  readonly spawnargs: readonly string[]
  /** Streams by descriptor, null where there is none. */
  readonly stdio: readonly (Socket | null)[]
  /** Descriptors that steps sent back, by name: complete at `'spawn'`. Whoever takes one closes it. */
  readonly fds = Object.create(null) as Record<string, Fd>
  /** What steps have read for us, by name: complete at `'spawn'`. */
  readonly data = Object.create(null) as Record<string, Buffer>
  /** Its pid for us; undefined until `'spawn'`. */
  pid: number | undefined
  exitCode: number | null = null
  signalCode: NodeJS.Signals | null = null
  /** A signal was sent to it. */
  killed = false

  readonly #init: ProcessInit
  #id = 0
  #results: readonly Result[] = []
  #label: string | undefined
  #pty: Pty | undefined
  #pidfd: Fd | undefined
  #ref = true
  #ended = false
  #closed = false
  #observed = false
  #sentSigkill = false
  #reason: Reason | undefined
  readonly #spawned = deferred<this>()
  readonly #exited = deferred<Exit>()
  readonly #over = deferred<undefined>()

  /** @internal Processes come from spawn(). */
  constructor(init: ProcessInit) {
    super()
    this.#init = init
    this.spawnfile = init.file
    this.spawnargs = init.argv
    this.stdio = init.streams
    if (init.pty) this.#takePty(init.pty)
  }

  get stdin(): Socket | null {
    return this.stdio[0] ?? null
  }
  get stdout(): Socket | null {
    return this.stdio[1] ?? null
  }
  get stderr(): Socket | null {
    return this.stdio[2] ?? null
  }

  /** The terminal of `stdio: 'pty'`. One that steps open in the sandbox's own devpts is there from `'spawn'` on. */
  get pty(): Pty | undefined {
    return this.#pty
  }

  /** Resolves when the program runs, rejects with what kept it from that. */
  get spawned(): Promise<this> {
    this.#observed = true
    return this.#spawned.promise
  }

  /** Resolves when the process has ended, rejects when its setup failed. Enough by itself: no `'error'` listener is needed. */
  get exited(): Promise<Exit> {
    this.#observed = true
    return this.#exited.promise
  }

  /**
   * A descriptor of the process: the pidfd of clone3(2). Undefined before `'spawn'`, and after the end if nobody has asked before.
   * Whoever takes it closes it; disposing the process does, too.
   */
  get pidfd(): Fd | undefined {
    if (this.pid === undefined || this.#ended) return this.#pidfd
    if (this.#pidfd) return this.#pidfd
    const fd = native().pidfd(this.#id)
    // It has been reaped, and 'exit' is on its way.
    if (fd < 0 && errnoName(-fd) === 'ESRCH') return undefined
    return (this.#pidfd = new Fd(check(fd, 'fcntl'), 'pidfd'))
  }

  /**
   * `int pidfd_send_signal(int pidfd, int sig, siginfo_t *info, unsigned int flags)`: sends a signal. Before the program runs any signal cancels; after the end it does nothing.
   * Without an argument it sends what ends the process: SIGTERM, or SIGKILL to the first process of a pid namespace,
   * to which the kernel delivers nothing that it does not handle.
   *
   * Acts on: the child. Needs its user's id, or CAP_KILL.
   *
   * | errno | when |
   * |-------|------|
   * | EPERM | the process has become somebody else's |
   *
   * Since Linux 5.1. See `man 2 pidfd_send_signal`.
   *
   * @returns whether the signal was sent
   */
  kill(signal: Signal = this.#init.killSignal ?? (this.#init.init ? SIGKILL : SIGTERM)): boolean {
    const number = signalNumber(signal)
    if (this.#ended || this.#id === 0) return false
    if (this.pid === undefined && number === 0) return true
    const result = native().kill(this.#id, number)
    if (result >= 0) {
      if (result === 1) this.#reason ??= 'cancelled'
      if (number !== 0) this.killed = true
      if (number === SIGKILL) this.#sentSigkill = true
      return true
    }
    if (errnoName(-result) === 'ESRCH') return false
    throw new KernelError({ errno: -result, syscall: 'pidfd_send_signal' })
  }

  /** Keeps the event loop alive until the process has ended, as is so from the start. */
  ref(): void {
    if (this.#ref || this.#ended) return
    this.#ref = true
    reference(1)
  }

  unref(): void {
    if (!this.#ref || this.#ended) return
    this.#ref = false
    reference(-1)
  }

  /** Kills the process if it still runs, and waits for its end. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#observed = true
    for (const stream of this.stdio) stream?.destroy()
    this.#pty?.destroy()
    try {
      if (!this.#ended) this.kill(SIGKILL)
      await this.#over.promise
    } finally {
      for (const fd of Object.values(this.fds)) fd.close()
      this.#pidfd?.close()
    }
  }

  /** @internal It is on its way: the native side knows it by this id. */
  [begin](id: number, results: readonly Result[] = []): void {
    this.#id = id
    this.#results = results
    follow(id, this)
    reference(1)
  }

  /** @internal It will not be started. */
  [refuse](error: Error): void {
    this.#ref = false
    process.nextTick(() => {
      this.#fail(error)
    })
  }

  /** @internal Ends it, for a reason that `exited` tells. False when it has ended before. */
  [stop](reason: Reason): boolean {
    if (this.#ended) return false
    this.#reason ??= reason
    try {
      this.kill()
    } catch (error) {
      // It has become somebody else's. Nobody is there to throw to.
      if (this.listenerCount('error') > 0) this.emit('error', error as Error)
    }
    return true
  }

  /** @internal */
  [receive](row: Float64Array): void {
    const v = (i: number): number => row[i + 2] ?? 0
    switch (row[1]) {
      case EVENT_FD:
        return this.#receiveFd(this.#init.names[v(0)] ?? '', v(1))
      case EVENT_DATA:
        return void readResults(v(1), this.#results, this.data)
      case EVENT_LABEL:
        this.#label = readLabel(v(1), v(0))
        return
      case EVENT_HELD:
        return answer(this.#id, v(0), v(1), this.#init.held)
      case EVENT_SPAWN:
        this.pid = v(0)
        debug?.('%s: pid %d', this.spawnfile, this.pid)
        this.#spawned.resolve(this)
        this.emit('spawn')
        return
      case EVENT_ERROR: {
        const failure = { phase: v(0), step: v(1), errno: v(2), call: v(3), code: v(4), status: v(5) }
        // A kill() that came in time is an end like any other.
        if (this.killed && (failure.errno === 0 || errnoName(failure.errno) === 'ECANCELED')) {
          return this.#end(null, signalName(failure.status || SIGKILL), undefined)
        }
        return this.#fail(this.#init.explain({ ...failure, label: this.#label }))
      }
      case EVENT_EXIT: {
        const [how, status] = [v(0), v(1)]
        if (how === CLD_EXITED) return this.#end(status, null, usageOf(v), 'exited')
        return this.#end(
          null,
          signalName(status),
          usageOf(v),
          how === CLD_DUMPED ? 'dumped' : this.#signaled(status),
        )
      }
    }
  }

  #receiveFd(name: string, fd: number): void {
    if (name === 'pty' && isatty(fd)) {
      if (this.#init.columns !== undefined)
        native().setWindowSize(fd, this.#init.columns, this.#init.rows ?? 0)
      return this.#takePty(new Pty(fd))
    }
    this.fds[name]?.close()
    this.fds[name] = new Fd(fd, name)
  }

  #takePty(pty: Pty): void {
    this.#pty?.destroy()
    this.#pty = pty
    pty.once('close', () => {
      this.#maybeClose()
    })
  }

  #signaled(signal: number): Reason {
    const ours = this.#sentSigkill || this.#reason !== undefined
    return signal === SIGKILL && !ours && this.#init.oomKilled?.() === true ? 'oom_kill' : 'signaled'
  }

  #end(
    code: number | null,
    signal: NodeJS.Signals | null,
    usage: Usage | undefined,
    how: Reason = 'signaled',
  ): void {
    this.exitCode = code
    this.signalCode = signal
    const reason = this.#reason ?? how
    debug?.('%s: pid %s ended: %s', this.spawnfile, this.pid, signal ?? code)
    this.#finish()
    this.#exited.resolve({ code, signal, usage, reason })
    if (this.pid === undefined) {
      for (const fd of Object.values(this.fds)) fd.close()
      const error = new Error(`${this.spawnfile} was killed before it ran`)
      this.#spawned.reject(Object.assign(error, { code: 'ABORT_ERR', name: 'AbortError' }))
    }
    this.stdin?.destroy()
    try {
      this.emit('exit', code, signal)
    } finally {
      this.#drain()
    }
  }

  #fail(error: Error): void {
    debug?.('%s: %s', this.spawnfile, error.message)
    this.#finish()
    this.#spawned.reject(error)
    this.#exited.reject(error)
    for (const stream of this.stdio) stream?.destroy()
    this.#pty?.destroy()
    for (const fd of Object.values(this.fds)) fd.close()
    // Nobody who awaits `exited` needs a listener; nobody at all is an uncaught error, as in Node.
    try {
      if (this.listenerCount('error') > 0 || !this.#observed) this.emit('error', error)
    } finally {
      this.#drain()
    }
  }

  #finish(): void {
    this.#ended = true
    this.#pty?.[over]()
    forget(this.#id)
    if (this.#ref) reference(-1)
    this.#ref = false
  }

  /** 'close' comes when all output has been read, or thrown away because nobody wants it. */
  #drain(): void {
    for (const stream of [...this.stdio, this.#pty]) {
      if (!stream || stream.destroyed) continue
      stream.once('close', () => {
        this.#maybeClose()
      })
      // In a later turn than 'exit', so that who awaited `exited` can still read.
      setImmediate(() => {
        const unwanted = stream.listenerCount('readable') === 0 && stream.readableFlowing === null
        if (stream.readable && unwanted) stream.resume()
      })
    }
    this.#maybeClose()
  }

  #maybeClose(): void {
    if (!this.#ended || this.#closed) return
    if ([...this.stdio, this.#pty].some((stream) => stream && !stream.destroyed)) return
    this.#closed = true
    // In a later turn than 'exit', so that who awaited `exited` can still listen.
    setImmediate(() => {
      this.#over.resolve(undefined)
      this.emit('close', this.exitCode, this.signalCode)
    })
  }
}
