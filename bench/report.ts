// Rows as tables, for a terminal and for docs/performance.md.
import { cpus, release, totalmem } from 'node:os'
import Table from 'cli-table3'
import { judged, met, type Row } from './measure.ts'
import type { Spread } from './statistics.ts'

export function machine(): string {
  const [cpu] = cpus()
  // Without what its builder added.
  const [kernel] = release().split('-')
  const memory = (totalmem() / 2 ** 30).toFixed(0)
  return `Linux ${kernel ?? ''}, Node ${process.version}, ${cpus().length} × ${cpu?.model.trim() ?? 'unknown'}, ${memory} GiB`
}

export function figure(value: number): string {
  if (Number.isNaN(value)) return ''
  if (Math.abs(value) >= 100) return value.toFixed(0)
  return value === 0 ? '0' : value.toPrecision(Math.abs(value) < 0.01 ? 1 : Math.abs(value) < 0.1 ? 2 : 3)
}

const between = ({ p10, p90 }: Spread): string => `${figure(p10)}–${figure(p90)}`

/** What is judged is a ratio, not a value of ours. */
export const isRatio = ({ bar, ratio }: Row): boolean => bar?.of === undefined && ratio !== undefined

export function asked(row: Row): string {
  const { bar } = row
  if (!bar) return ''
  const sign = bar.most === undefined ? `≥ ${bar.least ?? ''}` : `≤ ${bar.most}`
  if (bar.of === 'ours p99') return `p99 ${sign}`
  return isRatio(row) ? `${sign}×` : sign
}

/** The value that a bar is about, as a text. */
export const shown = (row: Row): string =>
  isRatio(row) ? `${figure(judged(row))}×` : `${figure(judged(row))} ${row.unit}`

const verdict = (row: Row): string => {
  const answer = met(row)
  return answer === undefined ? '' : answer ? '✓' : '✗'
}

const head = ['', 'ratio', 'p10–p90', 'fancyproc p50', 'p99', 'against', 'its p50', 'p99', 'bar', ''] as const

/** Of one value there are no quantiles. */
const tail = ({ p10, p99 }: Spread): string => (p10 === p99 ? '' : figure(p99))

function cells(row: Row): string[] {
  const { what, unit, ours, against, theirs, ratio, note } = row
  return [
    what,
    ratio ? `${figure(ratio.p50)}×` : '',
    ratio ? between(ratio) : '',
    Number.isNaN(ours.p50) ? '' : `${figure(ours.p50)} ${unit}`,
    tail(ours),
    note ?? against ?? '',
    theirs ? figure(theirs.p50) : '',
    theirs ? tail(theirs) : '',
    asked(row),
    verdict(row),
  ]
}

export function table(rows: readonly Row[]): string {
  const [left, right] = ['left', 'right'] as const
  const made = new Table({
    head: [...head],
    colAligns: [left, right, right, right, right, left, right, right, right, left],
    style: { head: [], border: [], compact: true },
  })
  made.push(...rows.map(cells))
  return made.toString()
}

const line = (values: readonly string[]): string => `| ${values.join(' | ')} |`

/** `rows` under headings of their sections. */
function bySection(rows: readonly Row[], columns: number, render: (row: Row) => string[]): string[] {
  return rows.flatMap((row, i) => {
    const heading = line([`**${row.section}**`, ...Array<string>(columns - 1).fill('')])
    return [...(row.section === rows[i - 1]?.section ? [] : [heading]), line(render(row))]
  })
}

/** What is asked, and what was measured. */
export function bars(rows: readonly Row[]): string {
  const judgedRows = rows.filter(({ bar }) => bar)
  return [
    line(['', 'against', 'bar', 'measured', '']),
    '|-|-|-:|-:|-|',
    ...bySection(judgedRows, 5, (row) => [
      row.what,
      isRatio(row) ? (row.against ?? '') : '',
      asked(row),
      shown(row),
      verdict(row),
    ]),
  ].join('\n')
}

export function markdown(rows: readonly Row[]): string {
  return [line(head), '|-|-:|-:|-:|-:|-|-:|-:|-:|-|', ...bySection(rows, head.length, cells)].join('\n')
}
