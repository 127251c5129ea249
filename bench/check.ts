// Ratios against those of the last time that somebody committed them: never times, which only compare within a run.
import type { Row } from './measure.ts'
import type { Spread } from './statistics.ts'

export type Ratios = Readonly<Record<string, Spread>>

const nameOf = ({ section, what, against }: Row): string => `${section}: ${what} / ${against ?? ''}`

export function ratiosOf(rows: readonly Row[]): Ratios {
  return Object.fromEntries(
    rows.flatMap((row): [string, Spread][] => (row.ratio ? [[nameOf(row), row.ratio]] : [])),
  )
}

/** What has become worse than noise explains: the spreads do not even touch. */
export function regressions(rows: readonly Row[], before: Ratios): string[] {
  return rows.flatMap((row) => {
    const old = before[nameOf(row)]
    if (!old || !row.ratio) return []
    const more = row.unit.endsWith('/s')
    const worse = more ? row.ratio.p90 < old.p10 : row.ratio.p10 > old.p90
    const now = row.ratio.p50.toFixed(2)
    return worse
      ? [`${nameOf(row)}: ${now}×, was ${old.p50.toFixed(2)}× (${old.p10.toFixed(2)}–${old.p90.toFixed(2)})`]
      : []
  })
}
