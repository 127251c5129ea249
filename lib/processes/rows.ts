// The rows of a batch as native/proc.cc has read them: numbers, file by file, and texts in a heap behind them.

/** In the order of native/proc.h: how many numbers a row has of each, and which of those are lengths of texts. */
export const files = {
  stat: { bit: 1, width: 12, texts: [11] },
  status: { bit: 2, width: 18, texts: [8, 9] },
  cmdline: { bit: 4, width: 1, texts: [0] },
  exe: { bit: 8, width: 1, texts: [0] },
  cgroup: { bit: 16, width: 1, texts: [0] },
  label: { bit: 32, width: 1, texts: [0] },
  ns: { bit: 64, width: 8, texts: [] },
} as const

export type File = keyof typeof files

/** The rows of a batch, one after the other. */
export class Rows {
  readonly #numbers: Float64Array
  readonly #bits: BigUint64Array
  readonly #words: Uint32Array
  readonly #heap: Buffer
  readonly #width: number
  /** Where in a row the numbers of each file are. */
  readonly #places: Partial<Record<File, number>> = {}
  /** Columns that are lengths, and where in the heap the texts of this row start. */
  readonly #lengths: number[] = []
  readonly #starts: number[] = []
  readonly #end: number
  #row: number
  #used = 0
  /** Milliseconds since 1970 at which start times begin to count. */
  readonly startOfClock: number

  constructor(buffer: ArrayBuffer, mask: number, startOfClock: number) {
    this.startOfClock = startOfClock
    let width = 1
    for (const [name, { bit, width: own, texts }] of Object.entries(files)) {
      if ((mask & bit) === 0) continue
      this.#places[name as File] = width
      for (const text of texts) this.#lengths.push(width + text)
      width += own
    }
    this.#width = width
    const count = new Float64Array(buffer, 0, 1)[0] ?? 0
    this.#end = 1 + count * width
    this.#numbers = new Float64Array(buffer, 0, this.#end)
    this.#bits = new BigUint64Array(buffer, 0, this.#end)
    this.#words = new Uint32Array(buffer, 0, this.#end * 2)
    this.#heap = Buffer.from(buffer, this.#end * 8)
    this.#row = 1 - width
  }

  /** On to the next one; false when there is none. */
  next(): boolean {
    this.#row += this.#width
    if (this.#row >= this.#end) return false
    for (const column of this.#lengths) {
      this.#starts[column] = this.#used
      this.#used += Math.max(0, this.#numbers[this.#row + column] ?? 0)
    }
    return true
  }

  get pid(): number {
    return this.#numbers[this.#row] ?? NaN
  }

  number(file: File, index: number): number {
    return this.#numbers[this.#row + this.#column(file, index)] ?? NaN
  }

  /** A number that is all of 64 bits. */
  bits(file: File, index: number): bigint {
    return this.#bits[this.#row + this.#column(file, index)] ?? 0n
  }

  /** Undefined where it may not be read, or is not there. */
  text(file: File, index: number): string | undefined {
    const length = this.number(file, index)
    const start = this.#starts[this.#column(file, index)] ?? 0
    return length < 0 ? undefined : this.#heap.toString('utf8', start, start + length)
  }

  /** Whether numbers, bit by bit, are those that `last` has; it has them then. */
  isSame(file: File, index: number, last: Uint32Array): boolean {
    const start = 2 * (this.#row + this.#column(file, index))
    for (let i = 0; i < last.length; i++) {
      if (this.#words[start + i] === last[i]) continue
      last.set(this.#words.subarray(start, start + last.length))
      return false
    }
    return true
  }

  #column(file: File, index: number): number {
    return (this.#places[file] ?? NaN) + index
  }
}

/**
 * A value that is made of `count` numbers. Most processes are in this the same as the one before them, and then it is the
 * same object: that of 10,000 rows would take the garbage collector longer than the event loop may be held.
 */
export function shared<T extends object | undefined>(
  file: File,
  index: number,
  count: number,
  make: (row: Rows) => T,
): (row: Rows) => T {
  const last = new Uint32Array(2 * count)
  let value: { made: T } | undefined
  return (row) => {
    if (row.isSame(file, index, last) && value) return value.made
    value = { made: Object.freeze(make(row)) }
    return value.made
  }
}

/** The same for what is made of a text. */
export function sharedText<T>(
  file: File,
  index: number,
  make: (text: string | undefined) => T,
): (row: Rows) => T {
  let last: string | undefined
  let value: { made: T } | undefined
  return (row) => {
    const text = row.text(file, index)
    if (value && text === last) return value.made
    last = text
    value = { made: make(text) }
    return value.made
  }
}
