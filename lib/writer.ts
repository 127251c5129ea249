// The bytes of a plan, while they are written.
import { outOfRange } from './errors.ts'

const MOST_KEPT = 1 << 20
export const MOST_SIZE = 1 << 30

export const tooLarge = (): Error => outOfRange('steps', 'read and write more than a gigabyte together')

const utf8 = new TextEncoder()

/** Bytes that grow, of a little-endian machine. */
export class Writer {
  bytes = new Uint8Array(4096)
  #words = new Uint32Array(this.bytes.buffer)
  length = 0

  /** Empty again, and no larger for good than most plans are. */
  restart(): void {
    this.length = 0
    if (this.bytes.length > MOST_KEPT) this.#replace(new Uint8Array(4096))
  }

  /** Room of a size, 8-aligned and zeroed; where it begins. */
  reserve(size: number): number {
    this.#grow(this.length + 7 + size)
    const at = (this.length + 7) & ~7
    this.bytes.fill(0, this.length, at + size)
    this.length = at + size
    return at
  }

  /** Bytes, with a NUL behind; where they begin. */
  data(value: Uint8Array): number {
    const at = this.length
    this.#grow(at + value.length + 1)
    this.bytes.set(value, at)
    return this.#end(at, value.length)
  }

  /** A string, with a NUL behind; where it begins. */
  text(value: string): number {
    const at = this.length
    const most = value.length > 4096 ? Buffer.byteLength(value) : value.length * 3
    this.#grow(at + most + 1)
    const length = this.#ascii(value, at)
      ? value.length
      : utf8.encodeInto(value, this.bytes.subarray(at, at + most)).written
    return this.#end(at, length)
  }

  #end(at: number, length: number): number {
    this.bytes[at + length] = 0
    this.length = at + length + 1
    return at
  }

  /** Most strings are short, and ASCII: a call out of JavaScript takes longer. */
  #ascii(value: string, at: number): boolean {
    if (value.length > 64) return false
    const { bytes } = this
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i)
      if (code > 0x7f) return false
      bytes[at + i] = code
    }
    return true
  }

  #grow(size: number): void {
    if (size <= this.bytes.length) return
    // Far below 2^31, from which on the arithmetic of 32 bits would go wrong.
    if (size > MOST_SIZE) throw tooLarge()
    const larger = new Uint8Array(Math.max((size + 7) & ~7, this.bytes.length * 2))
    larger.set(this.bytes.subarray(0, this.length))
    this.#replace(larger)
  }

  #replace(bytes: Uint8Array<ArrayBuffer>): void {
    this.bytes = bytes
    this.#words = new Uint32Array(bytes.buffer)
  }

  /** 32 bits at a multiple of 4: the value modulo 2^32, be it negative or not. */
  u32(at: number, value: number): void {
    this.#words[at >> 2] = value
  }

  /** An argument: struct fp_cell. */
  cell(at: number, kind: number, length: number, value: number | bigint): void {
    const words = this.#words
    const word = at >> 2
    words[word] = kind
    words[word + 1] = length
    if (typeof value === 'bigint') {
      words[word + 2] = Number(BigInt.asUintN(32, value))
      words[word + 3] = Number(BigInt.asUintN(32, value >> 32n))
    } else {
      words[word + 2] = value
      words[word + 3] = Math.floor(value / 2 ** 32)
    }
  }
}
