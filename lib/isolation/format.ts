// The same as text: a table with a row for each attribute.
import type { IdRange } from '../steps/identity.ts'
import type { CapabilitySets } from '../processes/info.ts'
import { capabilityNames } from './capabilities.ts'
import { compare, type Compared, type Isolation } from './isolation.ts'
import type { LimitFile, Limits } from './limits.ts'

/** An attribute, for people. */
export interface IsolationRow {
  readonly name: string
  readonly value: string
  readonly from: string
  readonly differs: boolean
}

function row<T>(
  name: string,
  { value, from, differs }: Compared<T>,
  text: (value: T) => string,
): IsolationRow {
  const or = (one: T | undefined): string => (one === undefined ? '?' : text(one))
  return { name, value: or(value), from: or(from), differs: differs ?? value !== from }
}

/** Those that are most often apart come first. */
const kinds = ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup', 'user', 'time'] as const

const units = ['', 'K', 'M', 'G', 'T']

function amount(file: LimitFile, value: number): string {
  if (!file.startsWith('memory')) return String(value)
  const unit = units.findLastIndex((_, i) => value >= 1024 ** i && value % 1024 ** i === 0)
  return `${String(value / 1024 ** Math.max(unit, 0))}${units[unit] ?? ''}`
}

function limits(all: Limits): string {
  const texts = Object.entries(all).map(([file, { value }]) => `${file} ${amount(file as LimitFile, value)}`)
  return texts.join(', ') || 'none'
}

function map(ranges: readonly IdRange[]): string {
  const everything = ranges.length === 1 && ranges[0]?.inside === 0 && ranges[0].outside === 0
  if (everything && ranges[0]?.count === 0xffff_ffff) return 'all'
  return ranges.map(({ inside, outside, count }) => [inside, outside, count].join(' ')).join(', ') || 'none'
}

/** 'major:minor', as mountinfo has it. */
function deviceName(device: number): string {
  const number = BigInt(device)
  const major = ((number >> 8n) & 0xfffn) | ((number >> 32n) & 0xffff_f000n)
  const minor = (number & 0xffn) | ((number >> 12n) & 0xffff_ff00n)
  return `${String(major)}:${String(minor)}`
}

/** The rows of its table. */
export function rows(one: Isolation): IsolationRow[] {
  const { mounts, capabilities } = one
  const set = (name: keyof CapabilitySets): Compared<bigint> =>
    compare(capabilities.value?.[name], capabilities.from?.[name])
  const hex = (bits: bigint): string => `${String(capabilityNames(bits).length)}: ${bits.toString(16)}`
  const own = mounts === undefined ? '?' : String(mounts.length)
  return [
    ...kinds.map((kind) => row(`ns/${kind}`, one.namespaces[kind], String)),
    row('cgroup', one.cgroup, String),
    row('limits', one.limits, limits),
    // Without a module that labels there is nothing that is not known.
    row('label', { ...one.label, value: one.label.value ?? '-', from: one.label.from ?? '-' }, String),
    row('capabilities', set('effective'), hex),
    row('bounding', set('bounding'), hex),
    row('seccomp', one.seccomp, ({ mode, filters }) => (filters ? `${mode} ${String(filters)}` : mode)),
    row('no_new_privs', one.noNewPrivs, (set) => (set ? 'yes' : 'no')),
    row('root', one.root, ({ path, device, inode }) => `${path} ${deviceName(device)} ${String(inode)}`),
    row('uid_map', one.uidMap, map),
    row('gid_map', one.gidMap, map),
    { name: 'own mounts', value: own, from: '', differs: own !== '0' },
  ]
}

/** A table: names, the one that is compared with, the process; what differs is marked, and dropped capabilities follow. */
export function format(one: Isolation): string {
  const lines = [
    ['', `pid ${String(one.from)}`, '', `pid ${String(one.pid)}`],
    ...rows(one).map(({ name, value, from, differs }) => [name, from, differs ? '≠' : '', value]),
  ]
  const widths = [0, 1, 2].map((i) => Math.max(...lines.map((line) => line[i]?.length ?? 0)))
  const text = lines.map((line) =>
    line
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  )
  const dropped = wrap(one.droppedCapabilities.map((name) => `-${name}`))
  return [...text, ...(dropped.length > 0 ? ['', ...dropped] : [])].join('\n')
}

function wrap(words: readonly string[], width = 78): string[] {
  const lines: string[] = []
  for (const word of words) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length <= width)
      lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines
}
