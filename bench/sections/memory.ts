// Launch and event loop by how much memory Node has resident.
import { freemem } from 'node:os'
import { Loaded, type Measurement } from '../loaded.ts'
import {
  alone,
  compared,
  type Context,
  inTurns,
  missing,
  named,
  type Rounds,
  type Section,
  type Unnamed,
} from '../measure.ts'
import { makeRoot } from '../programs.ts'

const GIB = 2 ** 30
const sizes = { '50 MB': 0, '1 GB': GIB, '4 GB': 4 * GIB }
const first = '50 MB'

const ours = ['launch', 'held', 'piped', 'sockets', 'longest', 'busy'] as const
const both = [
  ...(['launch', 'launchNode', 'held', 'heldNode', 'piped', 'pipedNode'] as const),
  ...(['longest', 'longestNode', 'busy', 'busyNode'] as const),
]

type Values = (size: string, measurement: Measurement) => number[]

/** All sizes at the same time, in turns. */
async function measure(
  rounds: Rounds,
  nodes: ReadonlyMap<string, Loaded>,
  measurements: readonly Measurement[],
  warmup = 3,
): Promise<Values> {
  const contestants = [...nodes].flatMap(([size, node]) =>
    measurements.map((name): [string, () => Promise<number>] => [`${size} ${name}`, () => node.ask(name)]),
  )
  const values = await inTurns<string>(rounds, Object.fromEntries(contestants), warmup)
  return (size, measurement) => values[`${size} ${measurement}`] ?? []
}

export const memory: Section = async (context) => {
  using root = makeRoot()
  const nodes = new Map<string, Loaded>()
  const rows: Unnamed[] = []
  for (const [size, bytes] of Object.entries(sizes)) {
    if (context.quick && bytes > GIB) continue
    if (freemem() < bytes * 1.5) rows.push(missing(`${size} resident`, 'this machine has less'))
    else nodes.set(size, new Loaded(bytes, root.path))
  }
  try {
    for (const node of nodes.values()) await node.resident()
    rows.push(...(await table(context, nodes)))
  } finally {
    for (const node of nodes.values()) node[Symbol.dispose]()
  }
  return named('memory', rows)
}

async function table({ rounds, quick }: Context, nodes: ReadonlyMap<string, Loaded>): Promise<Unnamed[]> {
  const own = await measure({ ...rounds(400, 40), seconds: quick ? 1.5 : 40 }, nodes, ours)
  const beside = await measure(rounds(40, 3), nodes, both, 1)
  const rows: Unnamed[] = []
  for (const size of nodes.keys()) {
    if (size === first) continue
    rows.push(
      compared(`launch to exit, ${size}`, 'ms', own(size, 'launch'), `at ${first}`, own(first, 'launch'), {
        ...(size === '4 GB' ? { bar: { most: 1.2 } } : {}),
      }),
    )
  }
  for (const size of nodes.keys()) {
    const versus = (what: string, measurement: Measurement, theirs: Measurement): Unnamed =>
      compared(
        `${what}, ${size}`,
        'ms',
        beside(size, measurement),
        'child_process, no isolation',
        beside(size, theirs),
      )
    const [held, piped, sockets] = (['held', 'piped', 'sockets'] as const).map((name) => own(size, name))
    const least = (held ?? []).map((value, i) => value + (sockets?.[i] ?? NaN))
    rows.push(
      alone(`loop held by spawn(), ${size}`, 'ms', held ?? [], { bar: { of: 'ours p50', most: 0.1 } }),
      alone(`loop held by spawn(), ${size}, p99`, 'ms', held ?? [], { bar: { of: 'ours p99', most: 1 } }),
      compared(`loop held, three pipes, ${size}`, 'ms', piped ?? [], 'spawn() + 3 net.Socket', least, {
        bar: { most: 1 },
      }),
      alone(`three net.Sockets alone, ${size}`, 'ms', sockets ?? []),
      alone(`longest hold in 3 launches, perf_hooks, ${size}`, 'ms', own(size, 'longest')),
      alone(`loop busy per launch, perf_hooks, ${size}`, 'ms', own(size, 'busy')),
      versus('launch to exit', 'launch', 'launchNode'),
      versus('loop held by spawn()', 'held', 'heldNode'),
      versus('loop held, three pipes', 'piped', 'pipedNode'),
      versus('longest hold in 3 launches, perf_hooks', 'longest', 'longestNode'),
      versus('loop busy per launch, perf_hooks', 'busy', 'busyNode'),
    )
  }
  return rows
}
