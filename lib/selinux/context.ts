// A security context, as its text: user:role:type:level. What the names in it stand for is the policy's to know.
import { inspect } from 'node:util'
import { invalid, show } from '../errors.ts'
import { options, text } from '../steps/arguments.ts'

/** The reference policy's, and so every distribution's. */
const CATEGORIES = 1024
const SENSITIVITIES = 16

/** What the kernel takes: setxattr(2) more, selinuxfs and /proc/PID/attr less than a page. */
const CONTEXT_MOST = 4095

/** What is taken for a context: a string goes to the kernel as it is. */
export type ContextLike = string | Context

function index(name: string, letter: string, count: number, argument: string): number {
  const kind = letter === 's' ? 'sensitivity' : 'category'
  const number = new RegExp(`^${letter}(0|[1-9][0-9]{0,3})$`).exec(name)?.[1]
  if (number === undefined || Number(number) >= count) {
    throw invalid(argument, `no ${kind} ${show(name)}: they are ${letter}0 to ${letter}${String(count - 1)}`)
  }
  return Number(number)
}

function parseCategories(list: string, argument: string): bigint {
  let mask = 0n
  for (const part of list.split(',')) {
    const [first = '', last, ...rest] = part.split('.')
    if (rest.length > 0) throw invalid(argument, `no categories: ${show(part)}`)
    const low = index(first, 'c', CATEGORIES, argument)
    const high = last === undefined ? low : index(last, 'c', CATEGORIES, argument)
    // The kernel takes c5.c5 for no range.
    if (last !== undefined && high <= low) throw invalid(argument, `no range of categories: ${show(part)}`)
    mask |= ((1n << BigInt(high - low + 1)) - 1n) << BigInt(low)
  }
  return mask
}

/** Runs of three and more are 'c0.c2', of two 'c0,c1'. */
function printCategories(categories: readonly number[]): string {
  const parts: string[] = []
  for (let i = 0; i < categories.length;) {
    let end = i
    while (categories[end + 1] === (categories[end] ?? 0) + 1) end++
    const last = end === i ? '' : `${end === i + 1 ? ',' : '.'}c${String(categories[end])}`
    parts.push(`c${String(categories[i])}${last}`)
    i = end + 1
  }
  return parts.join(',')
}

/** A sensitivity and a set of categories: `s0`, `s0:c1,c2`, `s0:c0.c1023`. */
export class Level {
  readonly sensitivity: number
  /** In ascending order. */
  readonly categories: readonly number[]
  readonly #mask: bigint

  private constructor(sensitivity: number, mask: bigint) {
    this.sensitivity = sensitivity
    this.#mask = mask
    const categories: number[] = []
    for (let i = 0, rest = mask; rest !== 0n; i++, rest >>= 1n) if (rest & 1n) categories.push(i)
    this.categories = Object.freeze(categories)
    Object.freeze(this)
  }

  static parse(level: string, argument = 'Level.parse: level'): Level {
    const [sensitivity = '', categories, ...rest] = text(level, argument).split(':')
    if (rest.length > 0) throw invalid(argument, `no level: ${show(level)}`)
    const number = index(sensitivity, 's', SENSITIVITIES, argument)
    return new Level(number, categories === undefined ? 0n : parseCategories(categories, argument))
  }

  /** The sensitivity is at least as high, and each category of the other's is there. */
  dominates(other: Level): boolean {
    return this.sensitivity >= other.sensitivity && (this.#mask & other.#mask) === other.#mask
  }

  equals(other: Level): boolean {
    return this.sensitivity === other.sensitivity && this.#mask === other.#mask
  }

  toString(): string {
    const categories = printCategories(this.categories)
    return `s${String(this.sensitivity)}${categories === '' ? '' : `:${categories}`}`
  }

  [inspect.custom](): string {
    return `Level(${this.toString()})`
  }
}

/** From a low level to a high one, which dominates it; most often they are one: `s0:c1,c2`, `s0-s0:c0.c1023`. */
export class Range {
  readonly low: Level
  readonly high: Level

  private constructor(low: Level, high: Level) {
    this.low = low
    this.high = high
    Object.freeze(this)
  }

  static parse(range: string, argument = 'Range.parse: range'): Range {
    const [first = '', second, ...rest] = text(range, argument).split('-')
    if (rest.length > 0) throw invalid(argument, `no range: ${show(range)}`)
    const low = Level.parse(first, argument)
    const high = second === undefined ? low : Level.parse(second, argument)
    if (!high.dominates(low))
      throw invalid(argument, `${String(high)} does not dominate ${String(low)}: ${show(range)}`)
    return new Range(low, high)
  }

  /** Whether the other lies within. */
  contains(other: Range): boolean {
    return other.low.dominates(this.low) && this.high.dominates(other.high)
  }

  equals(other: Range): boolean {
    return this.low.equals(other.low) && this.high.equals(other.high)
  }

  /** As the kernel prints it: a range from a level to itself is that level. */
  toString(): string {
    return this.low.equals(this.high) ? String(this.low) : `${String(this.low)}-${String(this.high)}`
  }

  [inspect.custom](): string {
    return `Range(${this.toString()})`
  }
}

export interface ContextFields {
  user: string
  role: string
  type: string
  /** A level or a range; null where the policy has none. */
  level?: string | Level | Range | null
}

const name = /^[A-Za-z][\w.$-]*$/

/**
 * `user:role:type:level`, taken apart. It prints as the kernel would print it, rejects what no policy takes, and
 * asks no kernel: whether the loaded policy knows the names is for `selinux.validate()`.
 */
export class Context {
  readonly user: string
  readonly role: string
  readonly type: string
  /** Undefined in a policy without MLS. */
  readonly range: Range | undefined

  constructor(fields: ContextFields) {
    const given = options<ContextFields>(fields, 'Context', ['user', 'role', 'type', 'level'])
    const part = (key: 'user' | 'role' | 'type'): string => {
      const value = text(given[key], `Context: ${key}`)
      if (!name.test(value)) throw invalid(`Context: ${key}`, `no name: ${show(value)}`)
      return value
    }
    this.user = part('user')
    this.role = part('role')
    this.type = part('type')
    const { level } = given
    const printed = level instanceof Level || level instanceof Range ? String(level) : level
    this.range =
      printed === undefined || printed === null ? undefined : Range.parse(printed, 'Context: level')
    Object.freeze(this)
  }

  static parse(context: string): Context {
    const whole = text(context, 'Context.parse: context', { most: CONTEXT_MOST })
    const [user = '', role, type, ...level] = whole.split(':')
    if (role === undefined || type === undefined)
      throw invalid('Context.parse: context', `expected user:role:type:level, got ${show(whole)}`)
    return new Context({ user, role, type, level: level.length === 0 ? null : level.join(':') })
  }

  /** A level, or a range of two. */
  get level(): string | undefined {
    return this.range?.toString()
  }

  /** The same with other parts. */
  with(fields: Partial<ContextFields>): Context {
    const { user, role, type, level } = this
    return new Context({ user, role, type, level: level ?? null, ...fields })
  }

  equals(other: ContextLike): boolean {
    return String(this) === String(Context.of(other))
  }

  /** Of two processes, or of one and a file: does the high level dominate the other's? MCS asks for that. */
  dominates(other: ContextLike): boolean {
    const [own, others] = Context.#ranges(this, other)
    return own === others || (own && others ? own.high.dominates(others.high) : false)
  }

  /** Does the other's range lie within this one's? */
  contains(other: ContextLike): boolean {
    const [own, others] = Context.#ranges(this, other)
    return own === others || (own && others ? own.contains(others) : false)
  }

  static #ranges(one: Context, other: ContextLike): [Range | undefined, Range | undefined] {
    return [one.range, Context.of(other).range]
  }

  static of(context: ContextLike): Context {
    return context instanceof Context ? context : Context.parse(context)
  }

  toString(): string {
    const { user, role, type, level } = this
    return [user, role, type, ...(level === undefined ? [] : [level])].join(':')
  }

  toJSON(): string {
    return this.toString()
  }

  [inspect.custom](): string {
    return `Context(${this.toString()})`
  }
}

/** A context as the kernel takes it. A string is not taken apart: what is wrong with it is the kernel's to say. */
export function contextText(value: unknown, argument: string): string {
  const context = value instanceof Context ? value.toString() : value
  if (typeof context !== 'string')
    throw invalid(argument, `expected a context (user:role:type:level), got ${show(value)}`)
  // selinuxfs takes several words in one write: a blank would make another question of it.
  if (/\s/.test(context)) throw invalid(argument, `no context: ${show(context)}`)
  return text(context, argument, { most: CONTEXT_MOST })
}
