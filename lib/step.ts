import { inspect } from 'node:util'
import { errnoNumber, invalid, show } from './errors.ts'
import type { FdLike } from './fd.ts'

/** A system call as strace prints it. */
export interface Call {
  readonly syscall: string
  readonly args: readonly string[]
}

/** The type of `procfs`. */
export class Procfs {
  declare private readonly brand: never
}

/**
 * A directory for steps: the /proc from before the first of them, whatever they mount or enter afterwards. In it `self`
 * and `thread-self` are the child: `open('self/ns/net', 'O_RDONLY', undefined, { dirfd: procfs })`.
 */
export const procfs = new Procfs()

/** What an argument of the native side can be; native/operations.def says which is which. */
export type Argument = number | bigint | string | Uint8Array | Uint32Array | FdLike | Procfs | Step | null

export type SecurityModule = 'selinux' | 'apparmor'

export interface StepDetails {
  /** The calls that it makes, in order. */
  calls: () => readonly Call[]
  /** What errors name: the object, and where it goes. */
  path?: string | undefined
  dest?: string | undefined
  /** Errnos that count as success. */
  ignore?: readonly string[] | undefined
  /** The security module without which it would mean nothing: spawn() asks before anything has happened. */
  module?: SecurityModule | undefined
  /** Advice for an errno that misleads. */
  hints?: Readonly<Record<string, string>> | undefined
}

/** One kernel operation as a plain value. Holding one does nothing; printing one shows it as strace would. */
export class Step {
  /** The row of the table of operations. */
  readonly operation: string
  readonly args: readonly Argument[]
  readonly path: string | undefined
  readonly dest: string | undefined
  readonly ignored: readonly number[]
  readonly hints: Readonly<Record<string, string>>
  readonly module: SecurityModule | undefined
  readonly #calls: () => readonly Call[]

  constructor(operation: string, args: readonly Argument[], details: StepDetails) {
    this.operation = operation
    this.args = args
    this.path = details.path
    this.dest = details.dest
    this.ignored = ignoredErrnos(operation, details.ignore ?? [])
    this.hints = details.hints ?? {}
    this.module = details.module
    this.#calls = details.calls
    Object.freeze(this)
  }

  get calls(): readonly Call[] {
    return this.#calls()
  }

  toString(): string {
    return this.calls.map(({ syscall, args }) => `${syscall}(${args.join(', ')})`).join('\n')
  }

  [inspect.custom](): string {
    return this.toString()
  }
}

/** A step whose result is an fd: later steps may name the step wherever they take an fd. */
export class FdStep extends Step {
  declare readonly yieldsFd: true
}

/** A step that reads bytes for the parent, under a name; its last argument is how many there is room for. */
export class DataStep extends Step {
  declare readonly dest: string

  get name(): string {
    return this.dest
  }

  get room(): number {
    return Number(this.args.at(-1))
  }
}

function ignoredErrnos(operation: string, names: readonly string[]): number[] {
  if (!Array.isArray(names) || names.length > 4)
    throw invalid(`${operation}: ignore`, 'expected up to 4 errno names')
  return names.map((name: string) => {
    const number = errnoNumber(name)
    if (number === undefined || number > 255) throw invalid(`${operation}: ignore`, `no errno: ${show(name)}`)
    return number
  })
}

/** What is at a list's place has just been taken from it. */
const places = (taken: readonly { at: number }[]): string =>
  taken.map(({ at }) => `[${String(at - 1)}]`).join('')

/** Steps, and arrays of them, to any depth. */
export type Steps = Step | readonly Steps[]

export function flatten(steps: unknown, argument = 'steps'): Step[] {
  if (!Array.isArray(steps)) throw invalid(argument, `expected an array of steps, got ${show(steps)}`)
  const flat: Step[] = []
  // Not recursive: a list may be long, and nested by a loop.
  const outer: { list: readonly unknown[]; at: number }[] = []
  let list: readonly unknown[] = steps
  let at = 0
  const refuse = (problem: string): never => {
    throw invalid(`${argument}${places([...outer, { at }])}`, problem)
  }
  for (;;) {
    if (at < list.length) {
      const item = list[at++]
      if (item instanceof Step) {
        flat.push(item)
        continue
      }
      if (!Array.isArray(item)) return refuse(`expected a step, got ${show(item)}`)
      if (item === list || outer.some((place) => place.list === item))
        return refuse('this array contains itself')
      outer.push({ list, at })
      list = item
      at = 0
    } else {
      const place = outer.pop()
      if (!place) return flat
      list = place.list
      at = place.at
    }
  }
}

/** Where in such a list a step was written: `steps[1][0]` for one of a helper's; by its index when it is no longer there. */
export function placeOf(steps: unknown, index: number): string {
  const outer: { list: readonly unknown[]; at: number }[] = []
  let list = Array.isArray(steps) ? (steps as readonly unknown[]) : []
  let at = 0
  let before = index
  for (;;) {
    const item = list[at++]
    if (Array.isArray(item)) {
      outer.push({ list, at })
      list = item
      at = 0
    } else if (at <= list.length) {
      if (before-- === 0) return `steps${places([...outer, { at }])}`
    } else {
      const place = outer.pop()
      if (!place) return `steps[${String(index)}]`
      list = place.list
      at = place.at
    }
  }
}

/** The last step of an operation, or -1. Asked of every list that is spawned: it allocates nothing. */
export function lastIndexOf(steps: readonly Step[], operation: string): number {
  let index = steps.length - 1
  while (index >= 0 && steps[index]?.operation !== operation) index--
  return index
}

/** The steps as strace would show them, a line a call. */
export function format(steps: Steps): string {
  return flatten([steps])
    .map((step) => step.toString())
    .join('\n')
}
