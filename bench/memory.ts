// npm run bench:memory: how long a spawn holds the event loop, and takes, by how much memory Node has resident.
import { spawn as nodeSpawn } from 'node:child_process'
import { once } from 'node:events'
import Table from 'cli-table3'
import { spawn } from 'fancyproc'
import { quantile, ratios } from './statistics.ts'

const GIB = 2 ** 30
const ROUNDS = 60

const options = { stdio: 'ignore', env: {} } as const

/** Milliseconds until the call returns, and until the program has ended. */
async function timed(launch: () => Promise<unknown>): Promise<[held: number, whole: number]> {
  const start = performance.now()
  const ended = launch()
  const held = performance.now() - start
  await ended
  return [held, performance.now() - start]
}

const table = new Table({
  head: ['resident', '', 'fancyproc ms', 'child_process ms', 'ratio', 'spread'],
  colAligns: ['right', 'left', 'right', 'right', 'right', 'right'],
  style: { head: [], border: [] },
})
const ballast: Buffer[] = []
for (const gibibytes of [0, 1, 4]) {
  while (ballast.length < gibibytes * 4) ballast.push(Buffer.alloc(GIB / 4, 1))
  const times = { ours: [[], []] as number[][], nodes: [[], []] as number[][] }
  for (let round = 0; round < ROUNDS; round++) {
    const ours = await timed(() => spawn('/bin/true', [], options).exited)
    const nodes = await timed(() => once(nodeSpawn('/bin/true', [], options), 'exit'))
    for (const i of [0, 1]) {
      times.ours[i]?.push(ours[i] ?? NaN)
      times.nodes[i]?.push(nodes[i] ?? NaN)
    }
  }
  for (const [i, what] of ['event loop held', 'launch to exit'].entries()) {
    const [ours, nodes] = [times.ours[i] ?? [], times.nodes[i] ?? []]
    const ratio = ratios(ours, nodes)
    const q = (values: readonly number[], share: number, digits = 2): string =>
      quantile(values, share).toFixed(digits)
    table.push([
      i === 0 ? `${(process.memoryUsage().rss / GIB).toFixed(2)} GiB` : '',
      what,
      q(ours, 0.5),
      q(nodes, 0.5),
      `${q(ratio, 0.5, 3)}×`,
      `${q(ratio, 0.1, 3)}–${q(ratio, 0.9, 3)}`,
    ])
  }
}
console.log(table.toString())
