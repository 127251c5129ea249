// Two pictures in one SVG: what others take for a launch, and every bar with what was measured. Ratios, both logarithmic.
import { judged, met, type Row } from './measure.ts'
import { asked, figure, isRatio, shown } from './report.ts'

const WIDTH = 880
const LEFT = 360
const RIGHT = 150
const LINE = 24
const OURS = '#0b7a5b'
const THEIRS = '#9aa5b1'
const MISSED = '#c2382e'
const INK = '#1f2933'
const FAINT = '#66727f'

interface Style {
  anchor?: 'start' | 'middle' | 'end'
  size?: number
  fill?: string
  bold?: boolean
}

const at = (value: number): string => value.toFixed(1)

function text(x: number, y: number, content: string, style: Style = {}): string {
  const { anchor = 'start', size = 13, fill = INK, bold = false } = style
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  const weight = bold ? ' font-weight="600"' : ''
  return `<text x="${at(x)}" y="${at(y)}" text-anchor="${anchor}" font-size="${size}" fill="${fill}"${weight}>${escaped}</text>`
}

const stroke = (path: string, colour: string, width: number, dashes = ''): string =>
  `<path d="${path}" stroke="${colour}" stroke-width="${width}" fill="none"${dashes && ` stroke-dasharray="${dashes}"`}/>`

/** Where a value is, and lines for the powers of ten, and of two where there are few of those. */
function axis(values: readonly number[]): { x: (value: number) => number; ticks: number[] } {
  const positive = values.filter((value) => value > 0 && Number.isFinite(value))
  const [low, high] = [Math.min(...positive, 1) * 0.8, Math.max(...positive, 1) * 1.25]
  const x = (value: number): number => {
    const share = Math.log(Math.max(value, low) / low) / Math.log(high / low)
    return LEFT + (WIDTH - LEFT - RIGHT) * Math.min(1, share)
  }
  const base = high / low > 50 ? 10 : 2
  const powers = Array.from({ length: 25 }, (_, i) => base ** (i - 12))
  return { x, ticks: powers.filter((power) => power > low && power < high) }
}

const grid = ({ x, ticks }: ReturnType<typeof axis>, top: number, bottom: number): string[] =>
  ticks.flatMap((tick) => [
    stroke(`M${at(x(tick))} ${at(top)}V${at(bottom)}`, '#e4e7eb', 1),
    text(x(tick), bottom + 14, `${Number(tick.toPrecision(3))}×`, {
      anchor: 'middle',
      size: 11,
      fill: FAINT,
    }),
  ])

/** A contestant of a launch, as a multiple of what we take. */
interface Contestant {
  name: string
  low: number
  value: number
  high: number
  time: number
  /** Where it must be: we at most so much of it. */
  limit?: number
}

function contestants(rows: readonly Row[]): Contestant[] {
  const shown = rows.filter(
    ({ section, what, ratio }) => section === 'launch' && what === 'launch to exit' && ratio,
  )
  const [first] = shown
  if (!first) return []
  const all = shown.map(({ against = '', ratio, theirs, bar }): Contestant => ({
    name: against,
    low: 1 / (ratio?.p90 ?? NaN),
    value: 1 / (ratio?.p50 ?? NaN),
    high: 1 / (ratio?.p10 ?? NaN),
    time: theirs?.p50 ?? NaN,
    ...(bar?.most === undefined ? {} : { limit: 1 / bar.most }),
  }))
  const own = { name: 'fancyproc', low: 1, value: 1, high: 1, time: first.ours.p50 }
  return [...all, own].sort((a, b) => a.value - b.value)
}

function launches(rows: readonly Row[], top: number): { lines: string[]; bottom: number } {
  const all = contestants(rows)
  if (all.length === 0) return { lines: [], bottom: top }
  const scale = axis(all.flatMap(({ low, high, limit = 1 }) => [low, high, limit]))
  const first = top + 34
  const bottom = first + all.length * LINE
  const lines = all.flatMap(({ name, low, value, high, time, limit }, i) => {
    const y = first + i * LINE
    const ours = name === 'fancyproc'
    const [from, to] = [scale.x(0), scale.x(value)]
    return [
      text(LEFT - 10, y + 15, name, { anchor: 'end', bold: ours }),
      `<rect x="${at(from)}" y="${at(y + 3)}" width="${at(Math.max(1, to - from))}" height="${LINE - 8}" rx="2" fill="${ours ? OURS : THEIRS}"/>`,
      ...(ours
        ? []
        : [stroke(`M${at(scale.x(low))} ${at(y + LINE / 2 - 1)}H${at(scale.x(high))}`, INK, 1.2)]),
      ...(limit === undefined
        ? []
        : [stroke(`M${at(scale.x(limit))} ${at(y)}v${LINE - 2}`, value < limit ? MISSED : OURS, 3)]),
      text(WIDTH - RIGHT + 14, y + 15, `${figure(value)}×`, { bold: true }),
      text(WIDTH - 16, y + 15, `${figure(time)} ms`, { anchor: 'end', fill: FAINT }),
    ]
  })
  const title = [
    text(16, top + 6, 'Launch to exit of an isolated program, as a multiple of what fancyproc takes', {
      size: 15,
      bold: true,
    }),
    text(
      16,
      top + 24,
      'medians; thin lines: p10 to p90 of the pairs; thick marks: where a bar wants them to be, at least',
      {
        size: 11,
        fill: FAINT,
      },
    ),
  ]
  return { lines: [...title, ...grid(scale, first, bottom), ...lines], bottom: bottom + 24 }
}

/** Below 1 is good, whatever is asked. */
function share(row: Row): number {
  const { most, least } = row.bar ?? {}
  const value = judged(row)
  return most === undefined ? (least ?? NaN) / value : most === 0 ? 1 + value : value / most
}

function bars(rows: readonly Row[], top: number): { lines: string[]; bottom: number } {
  const all = rows.filter((row) => row.bar && !Number.isNaN(judged(row)))
  if (all.length === 0) return { lines: [], bottom: top }
  const scale = axis(all.map(share))
  const first = top + 34
  const bottom = first + all.length * LINE
  const lines = all.flatMap((row, i) => {
    const y = first + i * LINE
    const colour = met(row) ? OURS : MISSED
    const against = isRatio(row) ? ` / ${row.against ?? ''}` : ''
    const name = `${row.what}${row.bar?.of === 'ours p99' && !row.what.includes('p99') ? ', p99' : ''}${against}`
    return [
      text(LEFT - 10, y + 15, name, { anchor: 'end', size: 12 }),
      stroke(`M${at(scale.x(1))} ${at(y + LINE / 2)}H${at(scale.x(share(row)))}`, colour, 2),
      `<circle cx="${at(scale.x(share(row)))}" cy="${at(y + LINE / 2)}" r="5" fill="${colour}"/>`,
      text(WIDTH - RIGHT + 14, y + 15, shown(row), { bold: true, size: 12, fill: colour }),
      text(WIDTH - 16, y + 15, asked(row), { anchor: 'end', size: 12, fill: FAINT }),
    ]
  })
  const title = [
    text(16, top + 6, 'Bars: what was measured, as a multiple of what is allowed', { size: 15, bold: true }),
    text(16, top + 24, 'left of the line is met', { size: 11, fill: FAINT }),
    text(WIDTH - RIGHT + 14, top + 24, 'measured', { size: 11, fill: FAINT }),
    text(WIDTH - 16, top + 24, 'bar', { size: 11, fill: FAINT, anchor: 'end' }),
  ]
  const limit = stroke(`M${at(scale.x(1))} ${at(first - 4)}V${at(bottom)}`, INK, 1.5, '5 3')
  return { lines: [...title, ...grid(scale, first, bottom), limit, ...lines], bottom: bottom + 24 }
}

export function chart(rows: readonly Row[], caption: string): string {
  const upper = launches(rows, 24)
  const lower = bars(rows, upper.bottom + 24)
  const height = lower.bottom + 26
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${at(height)}" font-family="system-ui, 'DejaVu Sans', sans-serif">`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    ...upper.lines,
    ...lower.lines,
    text(16, height - 12, caption, { size: 11, fill: FAINT }),
    '</svg>',
    '',
  ].join('\n')
}
