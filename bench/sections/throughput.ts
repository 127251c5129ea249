// Many launches, so many at a time.
import { cpus } from 'node:os'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { Limit } from '../limit.ts'
import { alone, compared, inTurns, named, type Section } from '../measure.ts'
import { enter, isolated, makeRoot, ours } from '../programs.ts'

async function many(count: number, concurrency: number, launch: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  let left = count
  const worker = async (): Promise<void> => {
    while (left-- > 0) await launch()
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
  return (count / (performance.now() - start)) * 1e3
}

const concurrencies = [1, 2, 8, 64, 512]

/** Of the event loop, one value for each round. */
interface Delays {
  p99: number[]
  longest: number[]
}

export const throughput: Section = async ({ rounds, quick }) => {
  using root = makeRoot()
  const options = { ...isolated, steps: [enter(root.path)] }
  const count = quick ? 200 : 2000
  const delays = new Map(concurrencies.map((at): [number, Delays] => [at, { p99: [], longest: [] }]))
  const cores = cpus().length
  using one = new Limit(root.path, '/true')
  using all = new Limit('-t', String(cores), root.path, '/true')
  const limit = (threads: Limit) => async (): Promise<number> =>
    (count / (await threads.launch(count)).wall) * 1e3
  const fancyproc = (concurrency: number) => async (): Promise<number> => {
    const histogram = monitorEventLoopDelay({ resolution: 1 })
    histogram.enable()
    // Its first tick is only a beginning: without one, what holds the loop at first would not be seen.
    await delay(10)
    const rate = await many(count, concurrency, () => ours(options))
    await delay(10)
    histogram.disable()
    delays.get(concurrency)?.p99.push(histogram.percentile(99) / 1e6)
    delays.get(concurrency)?.longest.push(histogram.max / 1e6)
    return rate
  }
  const rates = await inTurns<string>(
    { ...rounds(5, 2), seconds: 60 },
    {
      one: limit(one),
      all: limit(all),
      ...Object.fromEntries(concurrencies.map((at) => [String(at), fancyproc(at)])),
    },
    0,
  )
  const rate = (name: number | string): number[] => rates[String(name)] ?? []
  const first = delays.get(1)?.p99 ?? []
  const rows = [
    compared('launches a second, 1 at a time', '/s', rate(1), 'C, 1 thread', rate('one')),
    ...concurrencies.map((at) =>
      compared(`launches a second, ${at} at a time`, '/s', rate(at), `C, ${cores} threads`, rate('all'), {
        ...(at >= 8 ? { bar: { least: 0.9 } } : {}),
      }),
    ),
    compared('how the C program scales', '/s', rate('all'), 'C, 1 thread', rate('one')),
    ...concurrencies.map((at) => {
      const what = `event-loop delay, p99, ${at} at a time`
      const own = delays.get(at)?.p99 ?? []
      if (at === 1) return alone(what, 'ms', own)
      const bar = { of: 'ours p50', most: 10 } as const
      return compared(what, 'ms', own, '1 at a time', first, at === 512 ? { bar } : {})
    }),
    ...concurrencies.map((at) =>
      alone(`event-loop delay, longest, ${at} at a time`, 'ms', delays.get(at)?.longest ?? []),
    ),
  ]
  return named('throughput', rows)
}
