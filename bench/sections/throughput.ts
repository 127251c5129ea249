// Many launches, so many at a time.
import { cpus } from 'node:os'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { alone, compared, inTurns, named, type Section } from '../measure.ts'
import { enter, isolated, Limit, makeRoot, ours } from '../programs.ts'

async function many(count: number, concurrency: number, launch: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  let left = count
  const worker = async (): Promise<void> => {
    while (left-- > 0) await launch()
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
  return (count / (performance.now() - start)) * 1e3
}

export const throughput: Section = async ({ rounds, quick }) => {
  using root = makeRoot()
  const options = { ...isolated, steps: [enter(root.path)] }
  const count = quick ? 200 : 2000
  const rows = []
  using limit = new Limit(root.path, ['-t', String(cpus().length)])
  for (const concurrency of [1, 2, 8, 64, 512]) {
    const histogram = monitorEventLoopDelay({ resolution: 1 })
    const rates = await inTurns(
      rounds(5, 2),
      {
        ours: async () => {
          histogram.enable()
          const rate = await many(count, concurrency, () => ours(options))
          histogram.disable()
          return rate
        },
        theirs: async () => (count / (await limit.launch(count)).wall) * 1e3,
      },
      0,
    )
    const what = `launches a second, ${String(concurrency)} at a time`
    rows.push(
      compared(what, '/s', rates.ours, `C, ${String(cpus().length)} threads`, rates.theirs, {
        ...(concurrency >= 8 ? { bar: { least: 0.9 } } : {}),
      }),
      alone(
        `event-loop delay, ${String(concurrency)} at a time, p99`,
        'ms',
        [histogram.percentile(99) / 1e6],
        {
          ...(concurrency === 512 ? { bar: { of: 'ours p50', most: 10 } } : {}),
        },
      ),
    )
  }
  return named('throughput', rows)
}
