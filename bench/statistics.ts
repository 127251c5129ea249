/** The value below which a share of the values lies. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN
}

/** Ratios are taken pair by pair, since the machine's speed drifts. */
export function ratios(of: readonly number[], to: readonly number[]): number[] {
  return of.map((value, i) => value / (to[i] ?? NaN))
}

export interface Spread {
  p10: number
  p50: number
  p90: number
  p99: number
}

export function spread(values: readonly number[]): Spread {
  const [p10, p50, p90, p99] = [0.1, 0.5, 0.9, 0.99].map((share) => quantile(values, share))
  return { p10: p10 ?? NaN, p50: p50 ?? NaN, p90: p90 ?? NaN, p99: p99 ?? NaN }
}
