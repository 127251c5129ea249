// Steps in a child that executes nothing: it sends what they have opened and read, and ends.
import { answer, follow, forget, readResults, type Receiver, receive, reference } from './children.ts'
import { deferred } from './deferred.ts'
import { KernelError } from './errors.ts'
import { type Explained, stepNames } from './explain.ts'
import { Fd } from './fd.ts'
import { EVENT_DATA, EVENT_ERROR, EVENT_EXIT, EVENT_FD, EVENT_HELD, native } from './native.ts'
import { encode, NEWUSER, type Result } from './plan.ts'
import { abortError, assemble, type Assembled, checkGivenFds, checkSteps, submit } from './spawn.ts'
import { signalName } from './options.ts'
import type { Step, Steps } from './step.ts'

const CLD_EXITED = 1
const CLONE_NEWUSER = 0x1000_0000
const SIGKILL = 9

/** What steps have brought back, by the names that they gave. */
export interface Results {
  /** Descriptors, of `sendFd`. Whoever takes one closes it; disposing the results closes all. */
  readonly fds: Readonly<Record<string, Fd>>
  /** Bytes, of `readFile`, `readlink`, `statfs`. */
  readonly data: Readonly<Record<string, Buffer>>
  [Symbol.dispose](): void
}

export interface PerformOptions {
  /** CLONE_NEW* bits. */
  flags?: number
  /** Steps that come before those that errors count. */
  before?: readonly Step[]
  /** The steps as the caller wrote them, for errors. */
  given?: readonly Steps[]
  signal?: AbortSignal | undefined
}

class Brought implements Results {
  readonly fds = Object.create(null) as Record<string, Fd>
  readonly data = Object.create(null) as Record<string, Buffer>;

  [Symbol.dispose](): void {
    for (const fd of Object.values(this.fds)) fd.close()
  }
}

/** A child that runs steps only. */
class Errand implements Receiver {
  readonly over = deferred<Results>()
  readonly #brought = new Brought()
  readonly #id: number
  readonly #results: readonly Result[]
  readonly #assembled: Assembled
  #aborted: Error | undefined

  constructor(id: number, results: readonly Result[], assembled: Assembled) {
    this.#id = id
    this.#results = results
    this.#assembled = assembled
    follow(id, this)
    reference(1)
  }

  /** Whoever waits learns of it when the child has ended. */
  abort(error: Error): void {
    this.#aborted ??= error
    native().kill(this.#id, SIGKILL)
  }

  [receive](row: Float64Array): void {
    const v = (i: number): number => row[i + 2] ?? 0
    switch (row[1]) {
      case EVENT_FD: {
        const name = this.#assembled.names[v(0)] ?? ''
        this.#brought.fds[name]?.close()
        this.#brought.fds[name] = new Fd(v(1), name)
        return
      }
      case EVENT_DATA:
        return void readResults(v(1), this.#results, this.#brought.data)
      case EVENT_HELD:
        return answer(this.#id, v(0), v(1), this.#assembled.held)
      case EVENT_ERROR:
        return this.#end(
          this.#assembled.explain({
            phase: v(0), step: v(1), errno: v(2), call: v(3), code: v(4), status: v(5),
          }), // prettier-ignore
        )
      case EVENT_EXIT:
        return this.#end(v(0) === CLD_EXITED && v(1) === 0 ? undefined : ended(v(0), v(1)))
    }
  }

  #end(error: Error | undefined): void {
    forget(this.#id)
    reference(-1)
    const reason = this.#aborted ?? error
    if (reason === undefined) return this.over.resolve(this.#brought)
    this.#brought[Symbol.dispose]()
    this.over.reject(reason)
  }
}

/** All steps had run, and it was killed before it had ended. */
function ended(how: number, status: number): KernelError {
  const signal = how === CLD_EXITED ? undefined : signalName(status)
  return new KernelError({ errno: 0, signal, syscall: 'exit_group' })
}

/**
 * Runs steps in a child that executes no program and sends back what they have opened and read. The promise is settled
 * when it has ended and been reaped. Namespaces of its own live on in the descriptors that it sends:
 *
 *     perform([open('self/ns/net', 'O_RDONLY', undefined, { dirfd: procfs }) …, sendFd('net', …)], { flags: CLONE_NEWNET })
 */
export async function perform(steps: readonly Step[], options: PerformOptions = {}): Promise<Results> {
  const { flags = 0, before = [], given, signal } = options
  const wanted: Explained = {
    steps: [...before, ...steps],
    written: [before.length, Infinity],
    given,
    flags,
    cgroup: undefined,
    file: '',
    path: '',
  }
  checkSteps(wanted)
  checkGivenFds(wanted)
  if (signal?.aborted) throw abortError(signal)
  const assembled = assemble(wanted)
  const plan = encode({
    steps: assembled.steps,
    name: stepNames(wanted),
    flags: flags & CLONE_NEWUSER ? NEWUSER : 0,
  })
  const id = submit(plan, flags)
  if (typeof id !== 'number') throw id
  const errand = new Errand(id, plan.results, assembled)
  const abort = (): void => {
    if (signal) errand.abort(abortError(signal))
  }
  signal?.addEventListener('abort', abort, { once: true })
  try {
    return await errand.over.promise
  } finally {
    signal?.removeEventListener('abort', abort)
  }
}
