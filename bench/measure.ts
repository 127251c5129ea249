// What a section of the benchmark makes: rows of figures, and what each must show.
import { ratios, type Spread, spread } from './statistics.ts'

/** What a figure must be: of the ratio where there is one, else of our own value. */
export interface Bar {
  /** Which quantile of which value; by default the median, of the ratio. */
  of?: 'ours p50' | 'ours p99'
  most?: number
  least?: number
}

export interface Row {
  section: string
  what: string
  unit: string
  /** Nothing but NaN where it could not be measured; `note` tells why. */
  ours: Spread
  /** What it is compared with. */
  against?: string
  theirs?: Spread
  /** Ours / theirs, pair by pair. */
  ratio?: Spread
  bar?: Bar
  note?: string
}

/** How often something is measured: so many times, or as often as there is time for. */
export interface Rounds {
  count: number
  seconds: number
}

export interface Context {
  /** Under 60 s for all sections together. */
  quick: boolean
  rounds: (full: number, quick?: number) => Rounds
}

export function context(quick: boolean): Context {
  return {
    quick,
    rounds: (full, fewer = 10) => (quick ? { count: fewer, seconds: 1.5 } : { count: full, seconds: 20 }),
  }
}

export type Section = (context: Context) => Promise<Row[]>

export type Unnamed = Omit<Row, 'section'>

const LEAST_ROUNDS = 3

/** The same order in every run, and another one in every round. */
function shuffler(): <T>(values: readonly T[]) => T[] {
  let state = 1
  const random = (below: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
  return (values) => {
    const rest = [...values]
    return values.map(() => rest.splice(random(rest.length), 1)).flat()
  }
}

/**
 * One value of each contestant per round, in turns, so that all are measured in the same weather; in another order each
 * time, for who comes after a heavy one finds its caches cold and its remains being cleared away.
 */
export async function inTurns<Name extends string>(
  rounds: Rounds,
  contestants: Record<Name, () => number | Promise<number>>,
  warmup = 3,
): Promise<Record<Name, number[]>> {
  const names = Object.keys(contestants) as Name[]
  const values = Object.fromEntries(names.map((name): [Name, number[]] => [name, []])) as Record<
    Name,
    number[]
  >
  const shuffle = shuffler()
  const end = performance.now() + rounds.seconds * 1e3
  for (let round = -warmup; round < rounds.count; round++) {
    if (round >= LEAST_ROUNDS && performance.now() > end) break
    for (const name of shuffle(names)) {
      const value = await contestants[name]()
      if (round >= 0) values[name].push(value)
    }
  }
  return values
}

export function alone(what: string, unit: string, ours: readonly number[], rest: Partial<Row> = {}): Unnamed {
  return { what, unit, ours: spread(ours), ...rest }
}

/** What this machine can't measure, or a contestant that doesn't run here. */
export const missing = (what: string, why: string): Unnamed =>
  alone(what, '', [], { note: `not measured: ${why}` })

export function compared(
  what: string,
  unit: string,
  ours: readonly number[],
  against: string,
  theirs: readonly number[],
  rest: Partial<Row> = {},
): Unnamed {
  const ratio = spread(ratios(ours, theirs))
  return { what, unit, ours: spread(ours), against, theirs: spread(theirs), ratio, ...rest }
}

export function named(section: string, rows: Unnamed[]): Row[] {
  return rows.map((row) => ({ section, ...row }))
}

/** The value that a bar is about. */
export function judged({ ours, ratio, bar }: Row): number {
  if (bar?.of === 'ours p99') return ours.p99
  return bar?.of === 'ours p50' || !ratio ? ours.p50 : ratio.p50
}

/** Whether it shows what it must; undefined where nothing is asked. */
export function met(row: Row): boolean | undefined {
  if (!row.bar) return undefined
  const value = judged(row)
  return value <= (row.bar.most ?? Infinity) && value >= (row.bar.least ?? -Infinity)
}

/** Milliseconds of an action. */
export async function milliseconds(action: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await action()
  return performance.now() - start
}

export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1))
}
