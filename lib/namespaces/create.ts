// New namespaces that descriptors hold, and no process.
import { invalid, show } from '../errors.ts'
import type { Fd } from '../fd.ts'
import { perform, type Results } from '../perform.ts'
import { flatten, procfs, type Steps } from '../step.ts'
import { sendFd } from '../steps/fd.ts'
import { type Namespace, namespaceFlags } from '../steps/namespace.ts'
import { open } from '../steps/open.ts'
import { type NamespaceFd, namespaceFd } from './fd.ts'

/** A pid namespace ends with its first process. */
export type HeldNamespace = Exclude<Namespace, 'pid'>

/** A descriptor of each, which joining takes as it is: `spawn(file, args, { join: created })`. Disposing closes all. */
export type CreatedNamespaces<K extends HeldNamespace = HeldNamespace> = Readonly<Record<K, NamespaceFd>> & {
  /** What the steps have brought back beside them; not enumerable. */
  readonly results: Results
  [Symbol.dispose](): void
}

class Created {
  readonly #results: Results

  constructor(results: Results, kinds: readonly HeldNamespace[]) {
    this.#results = results
    try {
      for (const kind of kinds) {
        const sent = results.fds[nameOf(kind)] as Fd
        Object.assign(this, { [kind]: namespaceFd(sent.release(), kind) })
      }
    } catch (error) {
      this[Symbol.dispose]()
      throw error
    }
  }

  get results(): Results {
    return this.#results
  }

  [Symbol.dispose](): void {
    for (const fd of Object.values(this) as Fd[]) fd.close()
    this.#results[Symbol.dispose]()
  }
}

const nameOf = (kind: Namespace): string => `namespace:${kind}`

export function checkKinds<K extends HeldNamespace>(kinds: K | readonly K[], argument: string): K[] {
  const list = [...new Set(typeof kinds === 'string' ? [kinds] : kinds)]
  if (list.length === 0 || typeof list[0] !== 'string')
    throw invalid(argument, `expected kinds of namespace, got ${show(kinds)}`)
  namespaceFlags(list, argument)
  if (list.includes('pid' as K))
    throw invalid(argument, "a 'pid' namespace ends with its first process, which has to be spawned")
  return list
}

/**
 * `long clone3(struct clone_args *args, size_t size)`: new namespaces, in which the steps have run, held by descriptors
 * alone. The child that was in them has executed nothing, and is gone when the promise is settled.
 *
 *     using quiet = await namespaces.create(['net', 'uts'], [sethostname('quiet')])
 *     spawn('sh', [], { join: quiet })
 *
 * A step that fails rejects with a `KernelError` that names it, and nothing is left.
 *
 * Acts on: a child. Needs CAP_SYS_ADMIN, or 'user' among the kinds.
 *
 * | errno  | when |
 * |--------|------|
 * | EPERM  | no CAP_SYS_ADMIN, or user namespaces are forbidden here |
 * | ENOSPC | a limit of /proc/sys/user/max_*_namespaces |
 * | EAGAIN | pids.max, or RLIMIT_NPROC |
 *
 * Since Linux 5.5. See `man 2 clone3`.
 */
export async function create<K extends HeldNamespace>(
  kinds: K | readonly K[],
  steps: readonly Steps[] = [],
): Promise<CreatedNamespaces<K>> {
  const list = checkKinds(kinds, 'create: kinds')
  const sent = list.map((kind) => {
    const file = open(`self/ns/${kind}`, 'O_RDONLY', undefined, { dirfd: procfs })
    return [file, sendFd(nameOf(kind), file)]
  })
  const results = await perform([...flatten(steps, 'create: steps'), ...sent.flat()], {
    flags: namespaceFlags(list, 'create: kinds'),
    given: steps,
  })
  return new Created(results, list) as unknown as CreatedNamespaces<K>
}
