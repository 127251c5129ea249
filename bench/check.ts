// Ratios against those that somebody committed: never times, which only compare within a run.
import type { Row } from './measure.ts'

/** A median and what its noise leaves open. */
export interface Ratio {
  p50: number
  low: number
  high: number
}

export type Ratios = Readonly<Record<string, Ratio>>

/** From one run to the next medians move by as much, though nothing has changed: another layout of memory, another neighbour. */
const WEATHER = 1.1

const nameOf = ({ section, what, against }: Row): string => `${section}: ${what} / ${against ?? ''}`

const places = (value: number): number => Number(value.toPrecision(4))

export function ratiosOf(rows: readonly Row[]): Ratios {
  return Object.fromEntries(
    rows.flatMap((row): [string, Ratio][] => {
      if (!row.ratio || Number.isNaN(row.ratio.p50)) return []
      const { p50, low, high } = row.ratio
      return [[nameOf(row), { p50: places(p50), low: places(low), high: places(high) }]]
    }),
  )
}

/** What has become worse than noise explains: what the medians may be, now and then, is apart by more than the weather. */
export function regressions(rows: readonly Row[], before: Ratios): string[] {
  return rows.flatMap((row) => {
    const old = before[nameOf(row)]
    if (!old || !row.ratio) return []
    const more = row.unit.endsWith('/s')
    const worse = more ? row.ratio.high * WEATHER < old.low : row.ratio.low > old.high * WEATHER
    const show = ({ p50, low, high }: Ratio): string =>
      `${p50.toFixed(3)}× (${low.toFixed(3)}–${high.toFixed(3)})`
    return worse ? [`${nameOf(row)}: ${show(row.ratio)}, was ${show(old)}`] : []
  })
}
