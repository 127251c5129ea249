// Launch and event loop by how much memory Node has resident.
import { spawn as nodeSpawn } from 'node:child_process'
import { once } from 'node:events'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { spawn, type SpawnOptions } from 'fancyproc'
import { alone, compared, inTurns, named, type Section } from '../measure.ts'
import { enter, fromNode, isolated, makeRoot, ours } from '../programs.ts'

const GIB = 2 ** 30

/** Milliseconds until the call returns; the rest is waited for. */
async function held(launch: () => { ended: Promise<unknown> }): Promise<number> {
  const start = performance.now()
  const { ended } = launch()
  const time = performance.now() - start
  await ended
  return time
}

const piped: SpawnOptions = { stdio: 'pipe', env: {} }
const ignored: SpawnOptions = { stdio: 'ignore', env: {} }

export const memory: Section = async ({ rounds, quick }) => {
  using root = makeRoot()
  const file = `${root.path}/true`
  const options = { ...isolated, steps: [enter(root.path)] }
  const rows = []
  const ballast: Buffer[] = []
  let first: number[] | undefined
  for (const gibibytes of quick ? [0, 1] : [0, 1, 4]) {
    while (ballast.length < gibibytes * 4) ballast.push(Buffer.alloc(GIB / 4, 1))
    const size = gibibytes === 0 ? '50 MB' : `${String(gibibytes)} GB`
    const fancy = (how: SpawnOptions) => (): { ended: Promise<unknown> } => {
      const child = spawn(file, [], how)
      return { ended: how.stdio === 'pipe' ? once(child, 'close') : child.exited }
    }
    const nodes = (stdio: 'pipe' | 'ignore') => (): { ended: Promise<unknown> } => ({
      ended: once(nodeSpawn(file, [], { stdio, env: {} }), stdio === 'pipe' ? 'close' : 'exit'),
    })
    const count = rounds(gibibytes > 1 ? 60 : 150, 30)
    const times = await inTurns(count, {
      isolated: () => ours(options),
      theirs: () => fromNode(file, []),
      held: () => held(fancy(ignored)),
      theirsHeld: () => held(nodes('ignore')),
      piped: () => held(fancy(piped)),
      theirsPiped: () => held(nodes('pipe')),
    })
    first ??= times.isolated
    rows.push(
      compared(`launch to exit, ${size} resident`, 'ms', times.isolated, 'at 50 MB', first, {
        ...(gibibytes === 4 ? { bar: { most: 1.2 } } : {}),
      }),
      compared(
        `launch to exit, ${size} resident`,
        'ms',
        times.isolated,
        'child_process, no isolation',
        times.theirs,
      ),
      compared(`loop held by spawn(), ${size}`, 'ms', times.held, 'child_process', times.theirsHeld, {
        bar: { of: 'ours p50', most: 0.1 },
      }),
      alone(`loop held by spawn(), ${size}, p99`, 'ms', times.held, { bar: { of: 'ours p99', most: 1 } }),
      compared(`loop held, three pipes, ${size}`, 'ms', times.piped, 'child_process', times.theirsPiped),
    )
    rows.push(await delay(size, options, rounds(60, 20)))
  }
  return named('memory', rows)
}

/** The same by perf_hooks, which knows no better than a millisecond. */
async function delay(size: string, options: SpawnOptions, count: number): Promise<ReturnType<typeof alone>> {
  const histogram = monitorEventLoopDelay({ resolution: 1 })
  histogram.enable()
  for (let i = 0; i < count; i++) await ours(options)
  histogram.disable()
  const milliseconds = [10, 50, 90, 99].map((share) => histogram.percentile(share) / 1e6)
  return {
    ...alone(`event-loop delay while spawning, ${size}`, 'ms', []),
    ours: {
      p10: milliseconds[0] ?? NaN,
      p50: milliseconds[1] ?? NaN,
      p90: milliseconds[2] ?? NaN,
      p99: milliseconds[3] ?? NaN,
    },
  }
}
