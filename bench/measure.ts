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
  ours: Spread
  /** What it is compared with. */
  against?: string
  theirs?: Spread
  /** Ours / theirs, pair by pair. */
  ratio?: Spread
  bar?: Bar
  note?: string
}

export interface Context {
  /** Under 60 s for all sections together. */
  quick: boolean
  /** So many rounds, or fewer if it has to be quick. */
  rounds: (full: number, quick?: number) => number
}

export type Section = (context: Context) => Promise<Row[]>

type Unnamed = Omit<Row, 'section'>

/** One value of each contestant per round, in turns, so that all are measured in the same weather. */
export async function inTurns<Name extends string>(
  rounds: number,
  contestants: Record<Name, () => number | Promise<number>>,
  warmup = 3,
): Promise<Record<Name, number[]>> {
  const names = Object.keys(contestants) as Name[]
  const values = Object.fromEntries(names.map((name): [Name, number[]] => [name, []])) as Record<
    Name,
    number[]
  >
  for (let round = -warmup; round < rounds; round++) {
    // Who goes first has the colder caches: all do in turn.
    const first = Math.abs(round) % names.length
    for (const name of [...names.slice(first), ...names.slice(0, first)]) {
      const value = await contestants[name]()
      if (round >= 0) values[name].push(value)
    }
  }
  return values
}

export function alone(what: string, unit: string, ours: readonly number[], rest: Partial<Row> = {}): Unnamed {
  return { what, unit, ours: spread(ours), ...rest }
}

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

/** Whether it shows what it must; undefined where nothing is asked. */
export function met({ ours, ratio, bar }: Row): boolean | undefined {
  if (!bar) return undefined
  const value = bar.of === 'ours p99' ? ours.p99 : bar.of === 'ours p50' || !ratio ? ours.p50 : ratio.p50
  return value <= (bar.most ?? Infinity) && value >= (bar.least ?? -Infinity)
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
