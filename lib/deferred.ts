export interface Deferred<T> {
  readonly promise: Promise<T>
  resolve(value: T): void
  reject(error: Error): void
}

type Outcome<T> = { value: T } | { error: Error }

/** Its promise is made for the first who asks, and one that nobody awaits is no unhandled rejection. */
class Lazy<T> implements Deferred<T> {
  #promise: Promise<T> | undefined
  #outcome: Outcome<T> | undefined
  #settle: ((outcome: Outcome<T>) => void) | undefined

  get promise(): Promise<T> {
    if (this.#promise) return this.#promise
    this.#promise = new Promise<T>((resolve, reject) => {
      this.#settle = (outcome) => {
        if ('error' in outcome) reject(outcome.error)
        else resolve(outcome.value)
      }
    })
    this.#promise.catch(() => undefined)
    if (this.#outcome) this.#settle?.(this.#outcome)
    return this.#promise
  }

  resolve(value: T): void {
    this.#end({ value })
  }

  reject(error: Error): void {
    this.#end({ error })
  }

  #end(outcome: Outcome<T>): void {
    if (this.#outcome) return
    this.#outcome = outcome
    this.#settle?.(outcome)
  }
}

export const deferred = <T>(): Deferred<T> => new Lazy<T>()
