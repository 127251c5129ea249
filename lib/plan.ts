// Encodes steps and program into the bytes that native/plan.h describes.
import { invalid, show } from './errors.ts'
import { fdNumber, type FdLike } from './fd.ts'
import { JOINS, native, NEEDS_PROCFS, type Operation, YIELDS_FD } from './native.ts'
import { type Argument, DataStep, lastIndexOf, procfs, Step } from './step.ts'
import { MOST_SIZE, tooLarge, Writer } from './writer.ts'

const VERSION = 1
const STATUS_SIZE = 4096
const MAX_SLOTS = 256
const HEADER_SIZE = 88
const OP_SIZE = 16
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

/** One for all plans: native code copies before it returns. */
const writer = new Writer()

class Encoder {
  readonly #slots = new Map<Step, number>()
  readonly #given = new Map<number, number>()
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
    let i = 0
    for (const fd of this.#given.keys()) fds[i++] = fd
    return fds
  }

  get slotCount(): number {
    return this.#slots.size
  }

  /** The steps' rows of the table, and which of them later ones name: before anything is written, so that a wrong order is an error. */
  prepare(steps: readonly Step[], nameOf: (index: number) => string): Operation[] {
    const { table } = native()
    const operations: Operation[] = []
    const yielding = new Set<Step>()
    for (let index = 0; index < steps.length; index++) {
      const step = steps[index] as Step
      const operation = table.get(step.operation)
      if (!operation) throw invalid('steps', `no operation is called ${show(step.operation)}`)
      operations.push(operation)
      for (const i of operation.fds) {
        const argument = step.args[i]
        if (!(argument instanceof Step)) continue
        if (!yielding.has(argument))
          throw invalid(
            nameOf(index),
            `uses the fd of a step that does not come before it: ${String(argument)}`,
          )
        if (!this.#slots.has(argument)) this.#slots.set(argument, this.#slots.size)
      }
      if (!(operation.flags & YIELDS_FD)) continue
      if (yielding.has(step))
        throw invalid(nameOf(index), `this step already has its place in the list: ${String(step)}`)
      yielding.add(step)
    }
    if (this.#slots.size > MAX_SLOTS)
      throw invalid('steps', `more than ${String(MAX_SLOTS)} fds passed on between steps`)
    return operations
  }

  /** A struct fp_op and its cells, at a place that is reserved; data goes behind all of these. */
  op(at: number, step: Step, { code, flags, arguments: kinds }: Operation, index: number): number {
    if (flags & NEEDS_PROCFS) this.flags |= PROCFS
    if (flags & JOINS) this.flags |= NONDUMPABLE
    writer.u32(at, code | (kinds.length << 16))
    writer.u32(at + 4, (this.#slots.get(step) ?? -1) & 0xffff)
    const [first = 0, second = 0, third = 0, fourth = 0] = step.ignored
    writer.u32(at + 8, first | (second << 8) | (third << 16) | (fourth << 24))
    writer.u32(at + 12, index)
    at += OP_SIZE
    for (let i = 0; i < kinds.length; i++) {
      this.#cell(at, kinds.charAt(i), step.args[i] ?? null, step)
      at += CELL_SIZE
    }
    return at
  }

  /** Results lie behind all else, so that the plan need not be as long as they are. */
  place(end: number): number {
    for (const result of this.results) {
      result.at = (end + 7) & ~7
      end = result.at + 8 + result.room
      // Before the next rounding, which is one of 32 bits.
      if (end > MOST_SIZE) throw tooLarge()
      writer.cell(result.cell, KIND_RESULT, result.room, result.at)
    }
    return end
  }

  #cell(at: number, kind: string, value: Argument, step: Step): void {
    if (kind === 'f' || kind === 'F') return this.#fd(at, value, step)
    if (kind === 'r' && step instanceof DataStep) {
      this.results.push({ name: step.name, at: 0, room: step.room, cell: at })
      return
    }
    if (typeof value === 'number' || typeof value === 'bigint') return writer.cell(at, KIND_INTEGER, 0, value)
    if (value === null) return writer.cell(at, KIND_INTEGER, 0, 0)
    if (value instanceof Uint32Array) {
      const words = new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
      const place = writer.reserve(words.length)
      writer.bytes.set(words, place)
      return writer.cell(at, KIND_WORDS, words.length, STATUS_SIZE + place)
    }
    if (typeof value !== 'string' && !(value instanceof Uint8Array))
      throw invalid(step.operation, `cannot encode ${show(value)}`)
    const place = typeof value === 'string' ? writer.text(value) : writer.data(value)
    writer.cell(at, KIND_BYTES, writer.length - place - 1, STATUS_SIZE + place)
  }

  #fd(at: number, value: Argument, step: Step): void {
    if (value === procfs) {
      this.flags |= PROCFS
      return writer.cell(at, KIND_PROC, 0, 0)
    }
    if (value instanceof Step) return writer.cell(at, KIND_SLOT, 0, this.#slots.get(value) ?? 0)
    if (value === AT_FDCWD || value === null) return writer.cell(at, KIND_INTEGER, 0, AT_FDCWD)
    // The child's own number for it, see ChildFd.
    if (typeof value === 'bigint') return writer.cell(at, KIND_INTEGER, 0, value)
    writer.cell(at, KIND_GIVEN, 0, this.give(fdNumber(value as FdLike, step.operation)))
  }
}

/** Strings, and an array of their offsets, which the helper makes into pointers. */
function strings(values: readonly string[]): number {
  const at = writer.reserve((values.length + 1) * 8)
  for (let i = 0; i < values.length; i++) writer.u32(at + i * 8, STATUS_SIZE + writer.text(values[i] ?? ''))
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
  const operations = encoder.prepare(steps, name)
  writer.restart()
  const header = writer.reserve(HEADER_SIZE)

  let size = 0
  for (const { arguments: kinds } of operations) size += OP_SIZE + kinds.length * CELL_SIZE
  const ops = writer.reserve(size)
  let at = ops
  for (let i = 0; i < steps.length; i++) at = encoder.op(at, steps[i] as Step, operations[i] as Operation, i)

  const placed = writer.reserve(stdio.length * 8)
  for (let i = 0; i < stdio.length; i++) {
    const { target, source } = stdio[i] as { target: number; source: number }
    writer.u32(placed + i * 8, target)
    writer.u32(placed + i * 8 + 4, encoder.give(source))
  }
  const given = encoder.given
  // The given ones, then all that are kept, sorted: for a spawn, native code fills in its copies.
  const fds = writer.reserve((given.length * 2 + 1) * 4)
  for (let i = 0; i < given.length; i++) writer.u32(fds + i * 4, given[i] ?? -1)

  if (program) {
    const { file, path, argv, env } = program
    writer.u32(header + 40, STATUS_SIZE + writer.text(file))
    if (!file.includes('/')) writer.u32(header + 44, STATUS_SIZE + writer.text(path))
    writer.u32(header + 48, strings(argv))
    writer.u32(header + 52, argv.length)
    writer.u32(header + 56, strings(env))
    writer.u32(header + 60, env.length)
  }
  const end = encoder.place(STATUS_SIZE + writer.length)
  if (end > MOST_SIZE) throw tooLarge()
  writer.u32(header, VERSION)
  writer.u32(header + 4, end)
  writer.u32(header + 8, flags | encoder.flags)
  writer.u32(header + 12, steps.length)
  writer.u32(header + 16, STATUS_SIZE + ops)
  writer.u32(header + 20, encoder.slotCount)
  writer.u32(header + 24, STATUS_SIZE + placed)
  writer.u32(header + 28, stdio.length)
  writer.u32(header + 32, STATUS_SIZE + fds)
  writer.u32(header + 36, given.length)
  writer.u32(header + 68, floor)
  writer.u32(header + 80, lastIndexOf(steps, 'clone') + 1)
  writer.u32(header + 84, encoder.results.length)
  return { bytes: writer.bytes.subarray(0, writer.length), given, results: encoder.results }
}
