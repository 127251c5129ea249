// What a detached program printed, bounded: two files, of which the older goes when the newer is full.
import { closeSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { quietly } from './state.ts'

const HALF = 512 << 10

export class Log {
  readonly #file: string
  #fd: number
  #size = 0

  constructor(directory: string) {
    this.#file = join(directory, 'log')
    this.#fd = openSync(this.#file, 'a', 0o600)
  }

  /** The state directory may be gone, or its disk full: whoever writes to his terminal must not notice. */
  write(chunk: Buffer): void {
    quietly(() => {
      if (this.#size + chunk.length > HALF) this.#turn()
      this.#size += writeSync(this.#fd, chunk)
    })
  }

  #turn(): void {
    renameSync(this.#file, `${this.#file}.1`)
    const full = this.#fd
    this.#fd = openSync(this.#file, 'a', 0o600)
    this.#size = 0
    closeSync(full)
  }
}

export function readLog(directory: string): Buffer {
  const files = ['log.1', 'log'].map((name) => quietly(() => readFileSync(join(directory, name))))
  return Buffer.concat(files.filter((content) => content !== undefined))
}
