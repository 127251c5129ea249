// npm run bench [-- N]: N launches of each (default 200), side by side.
import { cpus, release } from 'node:os'
import Table from 'cli-table3'
import { launchers } from './launch.ts'
import { quantile, ratios } from './statistics.ts'

const count = Number(process.argv[2] ?? 200)
if (!Number.isInteger(count) || count < 2) {
  console.error(`bench: expected a number of launches, got ${String(process.argv[2])}`)
  process.exit(2)
}

const { launchers: all, remove } = launchers()
const times = all.map((): number[] => [])
try {
  for (let round = -5; round < count; round++) {
    for (const [i, { launch }] of all.entries()) {
      const nanoseconds = await launch()
      if (round >= 0) times[i]?.push(nanoseconds / 1e6)
    }
  }
} finally {
  remove()
}

const base = times[0] ?? []
const table = new Table({
  head: [`${String(count)} launches`, 'p50 ms', 'p10–p90 ms', 'p99 ms', 'fancyproc / it', 'spread'],
  colAligns: ['left', 'right', 'right', 'right', 'right', 'right'],
  style: { head: [], border: [] },
})
for (const [i, { name }] of all.entries()) {
  const own = times[i] ?? []
  const ratio = ratios(base, own)
  const q = (values: readonly number[], share: number): string => quantile(values, share).toFixed(2)
  table.push([
    name,
    q(own, 0.5),
    `${q(own, 0.1)}–${q(own, 0.9)}`,
    q(own, 0.99),
    i === 0 ? '' : `${q(ratio, 0.5)}×`,
    i === 0 ? '' : `${q(ratio, 0.1)}–${q(ratio, 0.9)}`,
  ])
}
console.log(
  `Linux ${release()}, Node ${process.version}, ${String(cpus().length)} × ${cpus()[0]?.model ?? 'unknown'}`,
)
console.log(table.toString())
