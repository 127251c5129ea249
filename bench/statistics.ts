/** The value below which a share of the sorted values lies. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN
}

/** Medians compare; ratios are taken pair by pair, since the machine's speed drifts. */
export function ratios(of: readonly number[], to: readonly number[]): number[] {
  return of.map((value, i) => value / (to[i] ?? NaN))
}
