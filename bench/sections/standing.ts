// With many sandboxes standing: what a launch takes, what each of them costs, how soon a death is known.
import { readFileSync } from 'node:fs'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { type Process, spawn } from 'fancyproc'
import { alone, compared, inTurns, named, type Section } from '../measure.ts'
import { enter, isolated, Limit, makeRoot, ours } from '../programs.ts'

function meminfo(...names: string[]): number {
  const text = readFileSync('/proc/meminfo', 'utf8')
  return names.reduce((sum, name) => sum + Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(text)?.[1]), 0)
}

function resident(): number {
  for (let i = 0; i < 4; i++) globalThis.gc?.()
  return process.memoryUsage().rss / 1024
}

/** Milliseconds from the program's last act to `exit`. */
async function notification(root: string): Promise<number> {
  const child = spawn(`${root}/stamp`, [], { stdio: ['ignore', 'pipe', 'ignore'], env: {} })
  let seen = 0n
  child.once('exit', () => (seen = process.hrtime.bigint()))
  const data = once(child.stdout ?? child, 'data') as Promise<[Buffer]>
  await once(child, 'close')
  const [bytes] = await data
  return Number(seen - bytes.readBigInt64LE()) / 1e6
}

async function stand(count: number, options: Parameters<typeof spawn>[2], into: Process[]): Promise<void> {
  let left = count
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const child = spawn('/pause', [], options)
      await child.spawned
      into.push(child)
    }
  }
  await Promise.all(Array.from({ length: 8 }, worker))
}

export const standing: Section = async ({ rounds, quick }) => {
  using root = makeRoot()
  const options = { ...isolated, steps: [enter(root.path)] }
  using limit = new Limit(root.path)
  using kernels = new Limit(root.path, [], '/pause')
  const rows = []
  const children: Process[] = []
  const base: { ours?: number[]; theirs?: number[] } = {}
  try {
    for (const count of quick ? [0, 100] : [0, 100, 1000, 5000]) {
      const [before, kernelBefore] = [resident(), meminfo('Slab', 'KernelStack', 'PageTables', 'Percpu')]
      const added = count - children.length
      await stand(added, options, children)
      if (added >= 100) {
        await delay(200)
        const kernel = meminfo('Slab', 'KernelStack', 'PageTables', 'Percpu') - kernelBefore
        rows.push(
          alone(`Node's memory for each of ${String(count)}`, 'KB', [(resident() - before) / added], {
            bar: { most: 32 },
          }),
          alone(`the kernel's memory for each of ${String(count)}`, 'KB', [kernel / added]),
        )
      }
      const times = await inTurns(rounds(60, 20), {
        ours: () => ours(options),
        limit: async () => (await limit.launch()).wall,
        notified: () => notification(root.path),
      })
      base.ours ??= times.ours
      base.theirs ??= times.limit
      rows.push(
        compared(`launch to exit beside ${String(count)}`, 'ms', times.ours, 'beside none', base.ours, {
          ...(count === 5000 ? { bar: { most: 1.5 } } : {}),
        }),
        compared(`the limit program beside ${String(count)}`, 'ms', times.limit, 'beside none', base.theirs),
        alone(`death to exit event beside ${String(count)}`, 'ms', times.notified, {
          bar: { of: 'ours p50', most: 0.3 },
        }),
      )
    }
  } finally {
    for (const child of children) child.kill('SIGKILL')
    await Promise.all(children.map((child) => child.exited))
  }
  // The kernel's own share, without us.
  if (!quick) rows.push(...(await withoutUs(limit, kernels, rounds)))
  return named('standing', rows)
}

async function withoutUs(
  limit: Limit,
  kernels: Limit,
  rounds: (full: number) => number,
): Promise<ReturnType<typeof alone>[]> {
  const launch = async (): Promise<number> => (await limit.launch()).wall
  const none = await inTurns(rounds(60), { launch })
  await kernels.stand(5000)
  const many = await inTurns(rounds(60), { launch })
  return [compared('the limit program beside 5000 of its own', 'ms', many.launch, 'beside none', none.launch)]
}
