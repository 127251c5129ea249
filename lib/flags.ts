import { invalid, outOfRange, show } from './errors.ts'

/**
 * A set of flags by the kernel's names for them. It is open: a number stands for bits that have no name here,
 * a bigint where the kernel's type is 64 bits wide.
 */
export type Flags<Name extends string> = Name | number | bigint | readonly (Name | number | bigint)[]

/** The names of one argument's flags, in the order in which strace prints them. */
export class FlagTable<Name extends string> {
  readonly #bits: ReadonlyMap<string, bigint>
  readonly #numbers: ReadonlyMap<string, number>
  readonly #unknown: string

  /** `unknown` is what strace says when it knows none of the bits: 'MS_???'. */
  constructor(bits: Readonly<Record<Name, number>>, unknown: string) {
    this.#bits = new Map(Object.entries<number>(bits).map(([name, value]) => [name, BigInt(value)]))
    this.#numbers = new Map(Object.entries<number>(bits))
    this.#unknown = unknown
  }

  get names(): string[] {
    return [...this.#bits.keys()]
  }

  /** The value of a 32-bit argument. */
  value(flags: unknown, argument: string): number {
    return this.#named(flags) ?? Number(this.#combine(flags, argument, 0xffff_ffffn))
  }

  /** An array of names alone, of 32 bits: no bigint has to be allocated. */
  #named(flags: unknown): number | undefined {
    if (!Array.isArray(flags)) return undefined
    let all = 0
    for (let i = 0; i < flags.length; i++) {
      const bits = this.#numbers.get(flags[i] as string)
      if (bits === undefined) return undefined
      all |= bits
    }
    return all >>> 0
  }

  /** The value of a 64-bit argument. */
  wide(flags: unknown, argument: string): bigint {
    return this.#combine(flags, argument, 0xffff_ffff_ffff_ffffn)
  }

  #combine(flags: unknown, argument: string, limit: bigint): bigint {
    if (!Array.isArray(flags)) return this.#one(flags, argument, limit)
    let all = 0n
    for (const [i, flag] of flags.entries())
      all |= this.#bits.get(flag as string) ?? this.#one(flag, `${argument}[${String(i)}]`, limit)
    return all
  }

  #one(flag: unknown, argument: string, limit: bigint): bigint {
    if (typeof flag === 'string') {
      const bits = this.#bits.get(flag)
      if (bits === undefined)
        throw invalid(argument, `no flag ${show(flag)}; known are ${this.names.join(', ')}`)
      return bits
    }
    if (typeof flag !== 'number' && typeof flag !== 'bigint') {
      throw invalid(argument, `expected a flag's name, a number, or an array of them, got ${show(flag)}`)
    }
    if (typeof flag === 'number' && !Number.isSafeInteger(flag)) {
      throw outOfRange(argument, `${String(flag)} is not an exact integer (a bigint always is)`)
    }
    if (flag < 0 || flag > limit)
      throw outOfRange(argument, `expected 0 to 0x${limit.toString(16)}, got ${String(flag)}`)
    return BigInt(flag)
  }

  /** As strace prints it. */
  print(value: number | bigint): string {
    const { text, rest } = this.split(value)
    if (rest === 0n) return text === '' ? '0' : text
    const hex = `0x${rest.toString(16)}`
    return text === '' ? `${hex} /* ${this.#unknown} */` : `${text}|${hex}`
  }

  /** The names that a value holds, and the bits without one. */
  split(value: number | bigint): { text: string; rest: bigint } {
    let rest = BigInt(value)
    const found: string[] = []
    for (const [name, bits] of this.#bits) {
      if (bits === 0n || (rest & bits) !== bits) continue
      found.push(name)
      rest &= ~bits
    }
    return { text: found.join('|'), rest }
  }
}
