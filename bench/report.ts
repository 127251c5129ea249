// Rows as a table for a terminal, and as one for docs/performance.md.
import { cpus, release, totalmem } from 'node:os'
import Table from 'cli-table3'
import { type Bar, met, type Row } from './measure.ts'
import type { Spread } from './statistics.ts'

export function machine(): string {
  const [cpu] = cpus()
  const memory = (totalmem() / 2 ** 30).toFixed(0)
  return `Linux ${release()}, Node ${process.version}, ${String(cpus().length)} × ${cpu?.model.trim() ?? 'unknown'}, ${memory} GiB`
}

function figure(value: number): string {
  if (Number.isNaN(value)) return ''
  if (value >= 100) return value.toFixed(0)
  return value.toPrecision(value < 0.01 ? 1 : value < 0.1 ? 2 : 3)
}

const between = ({ p10, p90 }: Spread): string => `${figure(p10)}–${figure(p90)}`

function asked(bar: Bar | undefined, ratio: Spread | undefined): string {
  if (!bar) return ''
  const sign = bar.most === undefined ? `≥ ${String(bar.least)}` : `≤ ${String(bar.most)}`
  if (bar.of === 'ours p99') return `p99 ${sign}`
  return bar.of === undefined && ratio ? `${sign}×` : sign
}

export const head = ['', 'ratio', 'spread', 'fancyproc p50', 'p99', 'against', 'its p50', 'bar', ''] as const

function cells(row: Row): string[] {
  const { what, unit, ours, against, theirs, ratio, bar, note } = row
  const verdict = met(row)
  return [
    what,
    ratio ? `${figure(ratio.p50)}×` : '',
    ratio ? between(ratio) : '',
    Number.isNaN(ours.p50) ? '' : `${figure(ours.p50)} ${unit}`,
    ours.p99 === ours.p50 ? '' : figure(ours.p99),
    note ?? against ?? '',
    theirs ? figure(theirs.p50) : '',
    asked(bar, ratio),
    verdict === undefined ? '' : verdict ? '✓' : '✗',
  ]
}

export function table(rows: readonly Row[]): string {
  const right = 'right' as const
  const made = new Table({
    head: [...head],
    colAligns: ['left', right, right, right, right, 'left', right, right, 'left'],
    style: { head: [], border: [], compact: true },
  })
  made.push(...rows.map(cells))
  return made.toString()
}

export function markdown(rows: readonly Row[]): string {
  const line = (values: readonly string[]): string => `| ${values.join(' | ')} |`
  const lines = [line(head), '|-|-:|-:|-:|-:|-|-:|-:|-|']
  let section = ''
  for (const row of rows) {
    if (row.section !== section) lines.push(line([`**${row.section}**`, ...Array<string>(8).fill('')]))
    section = row.section
    lines.push(line(cells(row)))
  }
  return lines.join('\n')
}
