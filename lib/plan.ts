// Encodes steps and program into the bytes that native/plan.h describes.
import { invalid, outOfRange, show } from './errors.ts'
import { fdNumber, type FdLike } from './fd.ts'
import { JOINS, native, NEEDS_PROCFS, type Operation, YIELDS_FD } from './native.ts'
import { type Argument, DataStep, procfs, Step } from './step.ts'

const VERSION = 1
const STATUS_SIZE = 4096
const MAX_SLOTS = 256
const HEADER_SIZE = 88
const OP_SIZE = 16
const MOST_KEPT = 1 << 20
const MOST_SIZE = 1 << 30
const CELL_SIZE = 16

const KIND_INTEGER = 1
const KIND_BYTES = 2
const KIND_SLOT = 3
const KIND_GIVEN = 4
const KIND_WORDS = 5
const KIND_RESULT = 6
const KIND_PROC = 7

export const SETSID = 1
export const CTTY = 2
export const NEWUSER = 4
const NONDUMPABLE = 8
const PROCFS = 16
export const LABELLED = 32

export const AT_FDCWD = -100

export interface Program {
  file: string
  /** To search, when the file has no slash. */
  path: string
  argv: readonly string[]
  /** 'NAME=value' */
  env: readonly string[]
}

export interface PlanInput {
  steps: readonly Step[]
  /** What errors call one. */
  name?: (index: number) => string
  /** Without one the child ends after the last step. */
  program?: Program
  stdio?: readonly { target: number; source: number }[]
  flags?: number
  /** No fd that is named, except those given, is at or above this number. */
  floor?: number
}

/** Bytes that a step reads for the parent: where they come to lie, behind their length, in the memory that both share. */
export interface Result {
  readonly name: string
  readonly at: number
  readonly room: number
}

export interface Plan {
  /** Valid until the next plan is made. */
  readonly bytes: Uint8Array
  readonly results: readonly Result[]
  /** The caller's fds that it uses. */
  readonly given: Int32Array
}

/** Bytes that grow. One for all plans: native code copies before it returns. */
class Writer {
  bytes = Buffer.alloc(4096)
  length = 0
  #view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length)

  /** Empty again, and no larger for good than most plans are. */
  restart(): void {
    this.length = 0
    if (this.bytes.length > MOST_KEPT) this.#replace(Buffer.alloc(4096))
  }

  /** Room of a size, 8-aligned and zeroed; where it begins. */
  reserve(size: number): number {
    const at = (this.length + 7) & ~7
    this.#grow(at + size)
    this.bytes.fill(0, this.length, at + size)
    this.length = at + size
    return at
  }

  /** A string or bytes, with a NUL behind; where it begins. */
  data(value: string | Uint8Array): { at: number; length: number } {
    const at = this.length
    const most =
      typeof value !== 'string'
        ? value.length
        : value.length > 4096
          ? Buffer.byteLength(value)
          : value.length * 3
    this.#grow(at + most + 1)
    let length = value.length
    if (typeof value !== 'string') this.bytes.set(value, at)
    else if (!this.#ascii(value, at)) length = this.bytes.write(value, at, 'utf8')
    this.bytes[at + length] = 0
    this.length = at + length + 1
    return { at, length }
  }

  /** Most strings are short, and ASCII: a call out of JavaScript takes longer. */
  #ascii(value: string, at: number): boolean {
    if (value.length > 64) return false
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i)
      if (code > 0x7f) return false
      this.bytes[at + i] = code
    }
    return true
  }

  #grow(size: number): void {
    if (size <= this.bytes.length) return
    const larger = Buffer.alloc(Math.max(size, this.bytes.length * 2))
    this.bytes.copy(larger, 0, 0, this.length)
    this.#replace(larger)
  }

  #replace(bytes: Buffer<ArrayBuffer>): void {
    this.bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  u16(at: number, value: number): void {
    this.#view.setUint16(at, value, true)
  }
  u32(at: number, value: number): void {
    this.#view.setUint32(at, value, true)
  }
  i32(at: number, value: number): void {
    this.#view.setInt32(at, value, true)
  }
  u64(at: number, value: number | bigint): void {
    if (typeof value === 'bigint') return this.#view.setBigUint64(at, BigInt.asUintN(64, value), true)
    // Two halves: a BigInt would have to be allocated for each.
    this.u32(at, value)
    this.u32(at + 4, Math.floor(value / 2 ** 32))
  }
}

const writer = new Writer()

class Encoder {
  readonly #slots = new Map<Step, number>()
  readonly #given = new Map<number, number>()
  readonly #table = native().table
  readonly results: { name: string; at: number; room: number; cell: number }[] = []
  flags = 0

  give(fd: number): number {
    const known = this.#given.get(fd)
    if (known !== undefined) return known
    const index = this.#given.size
    this.#given.set(fd, index)
    return index
  }

  get given(): Int32Array {
    const fds = new Int32Array(this.#given.size)
    for (const [fd, index] of this.#given) fds[index] = fd
    return fds
  }

  get slotCount(): number {
    return this.#slots.size
  }

  /** Which steps later ones name, and how: before anything is written, so that a wrong order is an error. */
  prepare(steps: readonly Step[], nameOf: (index: number) => string): void {
    const seen = new Set<Step>()
    for (const [index, step] of steps.entries()) {
      for (const argument of step.args) {
        if (!(argument instanceof Step)) continue
        if (!seen.has(argument))
          throw invalid(
            nameOf(index),
            `uses the fd of a step that does not come before it: ${String(argument)}`,
          )
        if (!this.#slots.has(argument)) this.#slots.set(argument, this.#slots.size)
      }
      const operation = this.operation(step)
      if (operation.flags & YIELDS_FD && seen.has(step))
        throw invalid(nameOf(index), `this step already has its place in the list: ${String(step)}`)
      seen.add(step)
    }
    if (this.#slots.size > MAX_SLOTS)
      throw invalid('steps', `more than ${String(MAX_SLOTS)} fds passed on between steps`)
  }

  operation(step: Step): Operation {
    const operation = this.#table.get(step.operation)
    if (!operation) throw invalid('steps', `no operation is called ${show(step.operation)}`)
    return operation
  }

  op(step: Step, index: number): void {
    const operation = this.operation(step)
    const kinds = operation.arguments
    if (operation.flags & NEEDS_PROCFS) this.flags |= PROCFS
    if (operation.flags & JOINS) this.flags |= NONDUMPABLE
    // Data is written after all ops, which follow one another.
    const at = writer.reserve(OP_SIZE + kinds.length * CELL_SIZE)
    writer.u16(at, operation.code)
    writer.u16(at + 2, kinds.length)
    writer.u16(at + 4, this.#slots.get(step) ?? -1)
    for (const [i, errno] of step.ignored.entries()) writer.bytes[at + 8 + i] = errno
    writer.u32(at + 12, index)
  }

  cells(step: Step, at: number): void {
    const kinds = this.operation(step).arguments
    for (let i = 0; i < kinds.length; i++) {
      this.#cell(at + OP_SIZE + i * CELL_SIZE, kinds.charAt(i), step.args[i] ?? null, step)
    }
  }

  /** Results lie behind all else, so that the plan need not be as long as they are. */
  place(end: number): number {
    for (const result of this.results) {
      result.at = (end + 7) & ~7
      end = result.at + 8 + result.room
      this.#write(result.cell, KIND_RESULT, result.room, result.at)
    }
    return end
  }

  #cell(at: number, kind: string, value: Argument, step: Step): void {
    if (kind === 'r' && step instanceof DataStep) {
      this.results.push({ name: step.name, at: 0, room: step.room, cell: at })
      return
    }
    if (kind === 'f' || kind === 'F') {
      if (value === procfs) {
        this.flags |= PROCFS
        return this.#write(at, KIND_PROC, 0, 0)
      }
      if (value instanceof Step) return this.#write(at, KIND_SLOT, 0, this.#slots.get(value) ?? 0)
      if (value === AT_FDCWD || value === null) return this.#write(at, KIND_INTEGER, 0, AT_FDCWD)
      // The child's own number for it, see ChildFd.
      if (typeof value === 'bigint') return this.#write(at, KIND_INTEGER, 0, value)
      const fd = fdNumber(value as FdLike, step.operation)
      return this.#write(at, KIND_GIVEN, 0, this.give(fd))
    }
    if (value === null) return this.#write(at, KIND_INTEGER, 0, 0)
    if (typeof value === 'number' || typeof value === 'bigint') return this.#write(at, KIND_INTEGER, 0, value)
    if (value instanceof Uint32Array) {
      const words = new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
      const place = writer.reserve(words.length)
      writer.bytes.set(words, place)
      return this.#write(at, KIND_WORDS, words.length, STATUS_SIZE + place)
    }
    if (typeof value === 'string' || value instanceof Uint8Array) {
      const { at: place, length } = writer.data(value)
      return this.#write(at, KIND_BYTES, length, STATUS_SIZE + place)
    }
    throw invalid(step.operation, `cannot encode ${show(value)}`)
  }

  #write(at: number, kind: number, length: number, value: number | bigint): void {
    writer.u32(at, kind)
    writer.u32(at + 4, length)
    writer.u64(at + 8, value)
  }
}

/** Strings, and an array of their offsets, which the helper makes into pointers. */
function strings(values: readonly string[]): number {
  const at = writer.reserve((values.length + 1) * 8)
  for (const [i, value] of values.entries()) {
    const place = writer.data(value).at
    writer.u64(at + i * 8, STATUS_SIZE + place)
  }
  return STATUS_SIZE + at
}

export function encode({
  steps,
  name = (index) => `steps[${String(index)}]`,
  program,
  stdio = [],
  flags = 0,
  floor = 3,
}: PlanInput): Plan {
  const encoder = new Encoder()
  encoder.prepare(steps, name)
  writer.restart()
  const header = writer.reserve(HEADER_SIZE)

  const ops = (writer.length + 7) & ~7
  const places: number[] = []
  for (const [index, step] of steps.entries()) {
    places.push(writer.length)
    encoder.op(step, index)
  }
  for (const [index, step] of steps.entries()) encoder.cells(step, places[index] ?? 0)

  const placed = writer.reserve(stdio.length * 8)
  for (const [i, { target, source }] of stdio.entries()) {
    writer.u32(placed + i * 8, target)
    writer.u32(placed + i * 8 + 4, encoder.give(source))
  }
  const given = encoder.given
  // The given ones, then all that are kept, sorted: for a spawn, native code fills in its copies.
  const fds = writer.reserve((given.length * 2 + 1) * 4)
  for (const [i, fd] of given.entries()) writer.i32(fds + i * 4, fd)

  if (program) {
    const { file, path, argv, env } = program
    writer.u32(header + 40, STATUS_SIZE + writer.data(file).at)
    if (!file.includes('/')) writer.u32(header + 44, STATUS_SIZE + writer.data(path).at)
    writer.u32(header + 48, strings(argv))
    writer.u32(header + 52, argv.length)
    writer.u32(header + 56, strings(env))
    writer.u32(header + 60, env.length)
  }
  const size = encoder.place(STATUS_SIZE + writer.length)
  if (size > MOST_SIZE) throw outOfRange('steps', 'read more than a gigabyte together')
  writer.u32(header, VERSION)
  writer.u32(header + 4, size)
  writer.u32(header + 8, flags | encoder.flags)
  writer.u32(header + 12, steps.length)
  writer.u32(header + 16, STATUS_SIZE + ops)
  writer.u32(header + 20, encoder.slotCount)
  writer.u32(header + 24, STATUS_SIZE + placed)
  writer.u32(header + 28, stdio.length)
  writer.u32(header + 32, STATUS_SIZE + fds)
  writer.u32(header + 36, given.length)
  writer.i32(header + 68, floor)
  writer.u32(header + 80, steps.findLastIndex(({ operation }) => operation === 'clone') + 1)
  writer.u32(header + 84, encoder.results.length)
  return { bytes: writer.bytes.subarray(0, writer.length), given, results: encoder.results }
}
