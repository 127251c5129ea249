// Formats of interface files of one value: numbers, words, lists.
import { invalid, outOfRange, show } from '../errors.ts'

/** A count, a size or a time, in the file's own unit; a bigint for what a number can't have exactly. */
export type Amount = number | bigint

/** A file that can be read. */
export interface Readable<Value> {
  readonly parse: (text: string) => Value
}

/** A file that can be written: each of the texts in one write(2). Throws for what it doesn't take, naming the argument. */
export interface Writable<Given> {
  readonly format: (value: Given, argument: string) => string[]
}

export type ReadWrite<Value, Given = Value> = Readable<Value> & Writable<Given>

const AMOUNT_MAX = 2n ** 64n - 1n

// A number beyond 2^53 is the nearest that JavaScript has: sizes are whole pages, and stay exact.
export function number(text: string): number {
  if (/^-?\d+(\.\d+)?$/.test(text)) return Number(text)
  throw new Error(`expected a number, the kernel says ${show(text)}`)
}

export function numberOrMax(text: string): number | 'max' {
  return text === 'max' ? text : number(text)
}

export function wordsOf(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '')
}

export function checkAmount(
  value: unknown,
  argument: string,
  what: string,
  least: Amount,
  most: Amount = AMOUNT_MAX,
): string {
  if (typeof value !== 'number' && typeof value !== 'bigint') {
    throw invalid(argument, `expected ${what}, got ${show(value)}`)
  }
  if ((typeof value === 'number' && !Number.isInteger(value)) || value < least || value > most) {
    throw outOfRange(
      argument,
      `expected ${what}, an integer from ${String(least)} to ${String(most)}, got ${String(value)}`,
    )
  }
  return String(BigInt(value))
}

export function checkLimit(
  value: unknown,
  argument: string,
  what: string,
  least: Amount,
  most?: Amount,
): string {
  return value === 'max' ? value : checkAmount(value, argument, `${what}, or 'max'`, least, most)
}

/** A number that only the kernel changes. */
export const counter: Readable<number> = { parse: (text) => number(text.trim()) }

/** A whole number. */
export function integer(what: string, least: Amount, most?: Amount): ReadWrite<number, Amount> {
  return { ...counter, format: (value, argument) => [checkAmount(value, argument, what, least, most)] }
}

/** A whole number, or 'max' for no limit. */
export function limit(
  what: string,
  least: Amount = 0,
  most?: Amount,
): ReadWrite<number | 'max', Amount | 'max'> {
  return {
    parse: (text) => numberOrMax(text.trim()),
    format: (value, argument) => [checkLimit(value, argument, what, least, most)],
  }
}

/** Per cent with two decimals, or 'max'. */
export const percentage: ReadWrite<number | 'max'> = {
  parse: (text) => numberOrMax(text.trim()),
  format(value: unknown, argument) {
    if (value === 'max') return [value]
    if (typeof value !== 'number') throw invalid(argument, `expected per cent, or 'max', got ${show(value)}`)
    if (!(value >= 0 && value <= 100) || Number(value.toFixed(2)) !== value) {
      throw outOfRange(argument, `expected per cent from 0 to 100 with two decimals, got ${String(value)}`)
    }
    return [value.toFixed(2)]
  },
}

/** 0 or 1. */
export const flag: ReadWrite<boolean, boolean | 0 | 1> = {
  parse: (text) => number(text.trim()) !== 0,
  format(value: unknown, argument) {
    if (typeof value === 'boolean' || value === 0 || value === 1) return [String(Number(value))]
    throw invalid(argument, `expected a boolean, got ${show(value)}`)
  },
}

/** What is done by writing a 1. */
export const trigger: Writable<true | 1> = {
  format(value: unknown, argument) {
    if (value === true || value === 1) return ['1']
    throw invalid(argument, `expected true, got ${show(value)}`)
  },
}

/** One of some words. */
export function word<Value extends string, Given extends string>(
  taken: readonly Given[],
): ReadWrite<Value, Given> {
  return {
    parse: (text) => text.trim() as Value,
    format(value, argument) {
      if (taken.includes(value)) return [value]
      throw invalid(argument, `expected ${taken.map((one) => `'${one}'`).join(' or ')}, got ${show(value)}`)
    },
  }
}

/** Names of controllers. */
export const names: Readable<string[]> = { parse: wordsOf }

/** Controllers to enable for the cgroups below, or to disable: '+pids', '-io'. */
export const changes: ReadWrite<string[], readonly (`+${string}` | `-${string}`)[]> = {
  parse: wordsOf,
  format(value: unknown, argument) {
    if (!Array.isArray(value)) throw invalid(argument, `expected an array of changes, got ${show(value)}`)
    for (const change of value as unknown[]) {
      if (typeof change === 'string' && /^[+-][a-z0-9_]+$/.test(change)) continue
      throw invalid(argument, `expected changes such as '+pids' or '-io', got ${show(change)}`)
    }
    return [value.join(' ')]
  },
}

/** Process or thread ids; what is written moves one. */
export const ids: ReadWrite<number[], number> = {
  parse: (text) => wordsOf(text).map(number),
  format: (value, argument) => [checkAmount(value, argument, 'an id (0: the own one)', 0, 2 ** 31 - 1)],
}

function parseList(text: string): number[] {
  return text
    .trim()
    .split(',')
    .filter((range) => range !== '')
    .flatMap((range) => {
      const [first = NaN, last = first] = range.split('-').map(number)
      return Array.from({ length: last - first + 1 }, (_, i) => first + i)
    })
}

/** Numbers of processors or memory nodes that only the kernel changes: '0-3,8'. */
export const set: Readable<number[]> = { parse: parseList }

/** Numbers of processors or memory nodes; none: those of the cgroup above. */
export const settableSet: ReadWrite<number[], readonly number[]> = {
  parse: parseList,
  format(value: unknown, argument) {
    if (!Array.isArray(value)) throw invalid(argument, `expected an array of numbers, got ${show(value)}`)
    return [
      (value as unknown[]).map((one) => checkAmount(one, argument, 'numbers', 0, 2 ** 31 - 1)).join(','),
    ]
  },
}
