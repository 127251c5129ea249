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
  /** Between these the median lies with 99 % confidence, whatever the distribution. */
  low: number
  high: number
}

export function spread(values: readonly number[]): Spread {
  const at = (share: number): number => quantile(values, share)
  // The ranks of a median: binomial, so a standard deviation is half the square root of the count.
  const off = (2.576 * 0.5) / Math.sqrt(Math.max(1, values.length))
  return {
    p10: at(0.1),
    p50: at(0.5),
    p90: at(0.9),
    p99: at(0.99),
    low: at(Math.max(0, 0.5 - off)),
    high: at(Math.min(1, 0.5 + off)),
  }
}
