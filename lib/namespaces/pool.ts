// Namespaces that are made before they are needed.
import { invalid, outOfRange, show } from '../errors.ts'
import { flatten, type Steps } from '../step.ts'
import { options as checkOptions } from '../steps/arguments.ts'
import { checkKinds, create, type CreatedNamespaces, type HeldNamespace } from './create.ts'

export interface PoolOptions<K extends HeldNamespace> {
  kinds: K | readonly K[]
  /** How many are kept ready. Default: 4. */
  size?: number | undefined
  /** What is run in each of them. */
  steps?: readonly Steps[] | undefined
}

/** How long after one was taken another is made, in milliseconds. */
const REFILL = 5

/** Keeps namespaces ready: a network namespace takes milliseconds to make, and joining one does not. */
export class NamespacePool<K extends HeldNamespace = HeldNamespace> {
  readonly #kinds: readonly K[]
  readonly #size: number
  readonly #steps: readonly Steps[]
  readonly #ready: CreatedNamespaces<K>[] = []
  readonly #making = new Set<Promise<void>>()
  #closed = false
  #later: NodeJS.Timeout | undefined

  constructor(options: PoolOptions<K>) {
    const known = ['kinds', 'size', 'steps'] as const
    const { kinds, size = 4, steps = [] } = checkOptions<PoolOptions<K>>(options, 'pool', known)
    if (!Number.isInteger(size) || size < 1 || size > 4096)
      throw outOfRange('pool: size', `expected 1 to 4096, got ${show(size)}`)
    this.#kinds = checkKinds(kinds, 'pool: kinds')
    this.#size = size
    this.#steps = flatten(steps, 'pool: steps')
    this.#fill()
  }

  /** How many are ready. */
  get ready(): number {
    return this.#ready.length
  }

  /** One that is ready, or else a new one; the taker closes it. Rejects as `create` does. */
  async take(): Promise<CreatedNamespaces<K>> {
    if (this.#closed) throw invalid('take', 'the pool is closed')
    const ready = this.#ready.shift()
    // Not at once: it would be in the way of what this one is taken for.
    this.#later ??= setTimeout(() => {
      this.#later = undefined
      this.#fill()
    }, REFILL)
    return ready ?? create(this.#kinds, this.#steps)
  }

  #fill(): void {
    while (!this.#closed && this.#ready.length + this.#making.size < this.#size) {
      const making = create(this.#kinds, this.#steps).then(
        (created) => {
          this.#making.delete(making)
          if (this.#closed) created[Symbol.dispose]()
          else this.#ready.push(created)
        },
        () => {
          // Whoever takes one tries himself, and is told why.
          this.#making.delete(making)
        },
      )
      this.#making.add(making)
    }
  }

  /** Closes all that nobody has taken; resolves when none is on its way any more. */
  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#later)
    for (const created of this.#ready.splice(0)) created[Symbol.dispose]()
    await Promise.all(this.#making)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/**
 * `long clone3(struct clone_args *args, size_t size)`: namespaces that are made beforehand, by `create`, so that who takes
 * one need not wait for the kernel. It begins to fill at once.
 *
 * Acts on: children. Needs what `create` does.
 *
 * Errnos: as for `create`, and `take()` rejects with them.
 *
 * Since Linux 5.5. See `man 2 clone3`.
 */
export function pool<K extends HeldNamespace>(options: PoolOptions<K>): NamespacePool<K> {
  return new NamespacePool(options)
}
