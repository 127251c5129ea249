// The directory of a cgroup for as long as something is watched there: held by a descriptor, so that all that is told is of
// this cgroup, and not of one that has been made since with its name.
import type { Fd } from '../fd.ts'

/** Where files are that are watched. */
export interface Place {
  /** From now on; throws where it is gone. */
  open(): string
  /** Twice is no error. */
  close(): void
  /** Undefined once it is closed, but a look may last longer than that. */
  look<T>(use: (path: string) => Promise<T>): Promise<T | undefined>
}

const pathOf = ({ fd }: Fd): string => `/proc/self/fd/${String(fd)}`

export class Watched implements Place {
  readonly #take: () => Fd
  #directory: Fd | undefined

  /** Takes nothing yet: who is never asked for the first change leaves no descriptor behind. */
  constructor(take: () => Fd) {
    this.#take = take
  }

  /** Before it is watched; undefined where it is gone. */
  now<T>(look: (path: string) => T): T | undefined {
    try {
      using directory = this.#take()
      return look(pathOf(directory))
    } catch {
      return undefined
    }
  }

  open(): string {
    this.#directory = this.#take()
    return pathOf(this.#directory)
  }

  close(): void {
    this.#directory?.close()
  }

  async look<T>(use: (path: string) => Promise<T>): Promise<T | undefined> {
    if (this.#directory === undefined || this.#directory.closed) return undefined
    using directory = this.#directory.dup()
    return await use(pathOf(directory))
  }
}
