import { invalid, outOfRange, show } from './errors.ts'
import { type JoinOptions, joinSteps, type Target } from './join.ts'
import { perform, type Results } from './perform.ts'
import { flatten, type Steps } from './step.ts'

export interface InNamespacesOptions {
  /** Milliseconds after which it is given up. */
  timeout?: number | undefined
  /** Gives it up. */
  signal?: AbortSignal | undefined
}

function giveUp({ timeout, signal }: InNamespacesOptions): AbortSignal | undefined {
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw invalid('signal', `expected an AbortSignal, got ${show(signal)}`)
  if (timeout === undefined) return signal
  if (!(typeof timeout === 'number' && timeout > 0 && timeout < 2 ** 31))
    throw outOfRange('timeout', `expected milliseconds, got ${show(timeout)}`)
  const late = AbortSignal.timeout(Math.ceil(timeout))
  return signal ? AbortSignal.any([signal, late]) : late
}

/**
 * `int setns(int fd, int nstype)`, then the steps: runs them in other namespaces, and brings back what they open (`sendFd`)
 * and read (`readFile`, `readlink`, `statfs`).
 * No process stays: the child executes nothing, ends after the last step, and has been reaped when the promise is settled.
 * A socket that was made in another network namespace, or a directory of another mount namespace, works here.
 *
 *     const { data } = await inNamespaces(pid, [readFile('resolv', '/etc/resolv.conf')])
 *
 * A step that fails rejects with a `KernelError`, and what had been sent is closed.
 *
 * Acts on: a child. Needs what `joinSteps` and the steps do.
 *
 * Errnos: as for `joinSteps` and the steps.
 *
 * Since Linux 5.8. See `man 2 setns`.
 */
export async function inNamespaces(
  target: Target | JoinOptions,
  steps: readonly Steps[],
  options: InNamespacesOptions = {},
): Promise<Results> {
  const flat = flatten(steps)
  if (typeof options !== 'object' || (options as unknown) === null)
    throw invalid('options', `expected an object, got ${show(options)}`)
  const unknown = Object.keys(options).find((key) => key !== 'timeout' && key !== 'signal')
  if (unknown !== undefined) throw invalid(unknown, 'no such option; known are timeout, signal')
  const signal = giveUp(options)
  const joined = joinSteps(target)
  try {
    if (joined.become.length > 0 || joined.cgroup || joined.env)
      throw invalid('join.inherit', 'only root and cwd mean something where no program is executed')
    return await perform(flat, { before: joined.enter, given: steps, signal })
  } finally {
    joined[Symbol.dispose]()
  }
}
