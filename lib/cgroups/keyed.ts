// Formats of interface files with keys: flat keyed and nested keyed, as the kernel calls them.
import { invalid, show } from '../errors.ts'
import {
  type Amount,
  checkAmount,
  checkLimit,
  number,
  numberOrMax,
  type Readable,
  type ReadWrite,
  wordsOf,
} from './formats.ts'

/** Numbers by name: names that every kernel from 5.10 on has, names that are known, and whatever else it tells. */
export type Counters<Always extends string = never, Known extends string = never> = Readonly<
  Record<Always, number> & Partial<Record<Known, number>> & Partial<Record<string, number>>
>

/** A line of a file of `*.pressure` (PSI): how much of the time some, or all, tasks waited for the resource. */
export interface Pressure {
  /** Per cent of the last 10, 60 and 300 seconds. */
  readonly avg10: number
  readonly avg60: number
  readonly avg300: number
  /** Microseconds, since the cgroup was made. */
  readonly total: number
}

function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line.trim() !== '')
}

/** 'a=1 b=max' */
function pairsOf<Value>(words: readonly string[], parse: (text: string) => Value): Record<string, Value> {
  return Object.fromEntries(
    words.map((word) => {
      const at = word.indexOf('=')
      return [word.slice(0, at), parse(word.slice(at + 1))]
    }),
  )
}

function checkRecord(value: unknown, argument: string, example: string): [string, unknown][] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(argument, `expected an object such as ${example}, got ${show(value)}`)
  }
  const entries = Object.entries(value as Record<string, unknown>).filter(([, one]) => one !== undefined)
  if (entries.length === 0) throw invalid(argument, `is empty: expected an object such as ${example}`)
  return entries
}

function checkKey(key: string, argument: string): string {
  if (/^[^\s=\0]+$/.test(key)) return key
  throw invalid(argument, `no key of an interface file: ${show(key)}`)
}

function parseFlat<Value>(text: string, parse: (text: string) => Value): Record<string, Value> {
  return Object.fromEntries(
    linesOf(text).map((line) => {
      const at = line.trimEnd().lastIndexOf(' ')
      return [line.slice(0, at), parse(line.slice(at + 1).trim())]
    }),
  )
}

/** 'KEY NUMBER' on each line. */
export function counters<Always extends string = never, Known extends string = never>(
  always: readonly Always[] = [],
  _known: readonly Known[] = [],
): Readable<Counters<Always, Known>> & { readonly always: readonly Always[] } {
  return { always, parse: (text) => parseFlat(text, number) as Counters<Always, Known> }
}

/** 'KEY LIMIT' on each line. */
export function limits(
  what: string,
): ReadWrite<Record<string, number | 'max'>, Readonly<Record<string, Amount | 'max'>>> {
  return {
    parse: (text) => parseFlat(text, numberOrMax),
    format: (value, argument) =>
      checkRecord(value, argument, "{ name: 'max' }").map(
        ([key, one]) => `${checkKey(key, argument)} ${checkLimit(one, `${argument}.${key}`, what, 0)}`,
      ),
  }
}

/** 'KEY=NUMBER' on one line. */
export const pairs: Readable<Counters<'total'>> = {
  parse: (text) => pairsOf(wordsOf(text), number) as Counters<'total'>,
}

/** Of a block device. */
export type Device = `${number}:${number}`

function checkDevice(device: string, argument: string): string {
  if (/^\d+:\d+$/.test(device)) return device
  throw invalid(argument, `expected a device as 'MAJOR:MINOR', got ${show(device)}`)
}

function parseNested<Value>(
  text: string,
  parse: (text: string) => Value,
): Record<string, Record<string, Value>> {
  return Object.fromEntries(
    linesOf(text).flatMap((line) => {
      const [key = '', ...words] = wordsOf(line)
      // Of a device without traffic, kernels before 6.13 list the name alone.
      return words.length === 0 ? [] : [[key, pairsOf(words, parse)]]
    }),
  )
}

/** 'KEY SUBKEY=NUMBER …' on each line. */
export const nested: Readable<Readonly<Partial<Record<string, Counters>>>> = {
  parse: (text) => parseNested(text, number),
}

/** 'NAME RESOURCE=LIMIT …' on each line. */
export const nestedLimits: ReadWrite<
  Record<string, Record<string, number | 'max'>>,
  Readonly<Record<string, Readonly<Record<string, Amount | 'max'>>>>
> = {
  parse: (text) => parseNested(text, numberOrMax),
  format: (value, argument) =>
    checkRecord(value, argument, '{ mlx5_0: { hca_handle: 2 } }').map(([name, resources]) => {
      const at = `${argument}.${name}`
      const words = checkRecord(resources, at, '{ hca_handle: 2 }').map(
        ([key, one]) => `${checkKey(key, at)}=${checkLimit(one, `${at}.${key}`, 'a count', 0)}`,
      )
      return [checkKey(name, argument), ...words].join(' ')
    }),
}

/** 'MAJOR:MINOR KEY=LIMIT …' on each line, with a limit for each of some keys. */
export function perDevice<Key extends string>(
  keys: readonly Key[],
  what: string,
  least: Amount,
): ReadWrite<
  Record<Device, Record<Key, number | 'max'>>,
  Readonly<Record<Device, Readonly<Partial<Record<Key, Amount | 'max'>>>>>
> {
  const example = `{ ${keys[0] ?? ''}: 1000 }`
  return {
    parse: (text) => parseNested(text, numberOrMax),
    format: (value, argument) =>
      checkRecord(value, argument, `{ '8:0': ${example} }`).map(([device, given]) => {
        const at = `${argument}['${checkDevice(device, argument)}']`
        const words = checkRecord(given, at, example).map(([key, one]) => {
          if (!(keys as readonly string[]).includes(key)) {
            throw invalid(`${at}.${key}`, `no such key; known are ${keys.join(', ')}`)
          }
          return `${key}=${checkLimit(one, `${at}.${key}`, what, least)}`
        })
        return [device, ...words].join(' ')
      }),
  }
}

type Settings = Record<Device, Record<string, number | string>>

/** 'MAJOR:MINOR KEY=VALUE …' on each line, with numbers and words. */
export const settings: ReadWrite<Settings, Readonly<Settings>> = {
  parse: (text) => parseNested(text, (one) => (/^-?\d+(\.\d+)?$/.test(one) ? Number(one) : one)),
  format: (value, argument) =>
    checkRecord(value, argument, "{ '8:0': { enable: 1 } }").map(([device, given]) => {
      const at = `${argument}['${checkDevice(device, argument)}']`
      const words = checkRecord(given, at, '{ enable: 1 }').map(([key, one]) => {
        if (typeof one !== 'number' && typeof one !== 'string') {
          throw invalid(`${at}.${key}`, `expected a number or a word, got ${show(one)}`)
        }
        return `${checkKey(key, at)}=${checkKey(String(one), `${at}.${key}`)}`
      })
      return [device, ...words].join(' ')
    }),
}

type Traffic = Readonly<
  Record<'rbytes' | 'wbytes' | 'rios' | 'wios' | 'dbytes' | 'dios', number> &
    Partial<Record<string, number | string>>
>

/** io.stat. */
export const traffic: Readable<Record<Device, Traffic>> = {
  parse: (text) => settings.parse(text) as Record<Device, Traffic>,
}

/** A weight, and others by device. */
export interface Weights {
  default: number
  [device: Device]: number
}

export interface GivenWeights {
  readonly default?: number | undefined
  readonly [device: Device]: number | 'default' | undefined
}

/** 'default WEIGHT', and 'MAJOR:MINOR WEIGHT' on further lines. A number is for the default. */
export const weights: ReadWrite<Weights, number | GivenWeights> = {
  parse: (text) => parseFlat(text, number) as unknown as Weights,
  format(value: unknown, argument) {
    const weight = (one: unknown, at: string): string => checkAmount(one, at, 'a weight', 1, 10_000)
    if (typeof value === 'number') return [`default ${weight(value, argument)}`]
    return checkRecord(value, argument, "{ default: 100, '8:0': 200 }").map(([key, one]) => {
      if (key === 'default') return `default ${weight(one, `${argument}.default`)}`
      const at = `${argument}['${checkDevice(key, argument)}']`
      return `${key} ${one === 'default' ? one : weight(one, at)}`
    })
  },
}

/** µs of processor time in each period of so many µs. */
export interface Bandwidth {
  quota: number | 'max'
  period: number
}

export interface GivenBandwidth {
  readonly quota: number | 'max'
  readonly period?: number | undefined
}

/** cpu.max: 'QUOTA PERIOD'. */
export const bandwidth: ReadWrite<Bandwidth, GivenBandwidth> = {
  parse(text) {
    const [quota = '', period = ''] = wordsOf(text)
    return { quota: numberOrMax(quota), period: number(period) }
  },
  format(value: unknown, argument) {
    const given = Object.fromEntries(checkRecord(value, argument, '{ quota: 20_000, period: 100_000 }'))
    for (const key of Object.keys(given)) {
      if (key === 'quota' || key === 'period') continue
      throw invalid(`${argument}.${key}`, 'no such key; known are quota, period')
    }
    const { quota, period } = given
    const words = [checkLimit(quota, `${argument}.quota`, 'µs', 1000, 2 ** 44)]
    if (period !== undefined) words.push(checkAmount(period, `${argument}.period`, 'µs', 1000, 1_000_000))
    return [words.join(' ')]
  },
}

/** Lines of *.pressure: 'some avg10=… avg60=… avg300=… total=…', 'full …'. */
export function pressure<Lines>(): Readable<Lines> {
  return { parse: (text) => parsePressure(text) as Lines }
}

/** What a file of *.pressure says, for a cgroup or (`/proc/pressure`) for the machine. */
export function parsePressure(text: string): { some?: Pressure; full?: Pressure } {
  return parseNested(text, number)
}
