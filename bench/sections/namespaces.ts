// namespaces() beside lsns, among few and many processes; a network namespace from a pool beside a new one.
import { spawn as nodeSpawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { namespaces } from 'fancyproc'
import { setns } from 'fancyproc/steps'
import { compared, inTurns, milliseconds, named, type Section, until } from '../measure.ts'
import { fromNode, has, isolated, ours, program } from '../programs.ts'

export const namespacesSection: Section = async (context) =>
  named('namespaces', [...(await listing(context)), ...(await pooled(context))])

type Part = (context: Parameters<Section>[0]) => Promise<ReturnType<typeof compared>[]>

const processes = (): number => readdirSync('/proc').filter((name) => /^\d+$/.test(name)).length

/** So many processes on this machine, if there aren't more, as long as it lasts. */
async function crowd(count: number): Promise<AsyncDisposable> {
  const before = processes()
  const missing = Math.max(0, count - before)
  const child = nodeSpawn(program('crowd'), [String(missing)], { stdio: ['pipe', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  return {
    [Symbol.asyncDispose]: async () => {
      child.stdin.end()
      await once(child, 'exit')
      // They die with it, and then somebody has to wait for them.
      await until(() => processes() < before + missing / 2 + 1 || missing === 0)
    },
  }
}

/** It fails when a process ends under its eyes. */
async function lsns(): Promise<number> {
  for (let left = 20; ; left--) {
    try {
      return await fromNode('lsns', [])
    } catch (error) {
      if (left === 0) throw error
    }
  }
}

const listing: Part = async ({ rounds, quick }) => {
  if (!has('lsns')) return []
  const rows = []
  for (const count of quick ? [100, 1000] : [100, 1000, 10_000]) {
    await using _ = await crowd(count)
    const times = await inTurns(rounds(count < 10_000 ? 20 : 7, 5), {
      everything: () => milliseconds(() => namespaces()),
      processes: () => milliseconds(() => namespaces({ holders: [] })),
      lsns,
    })
    const what = `${String(count)} processes`
    rows.push(
      compared(`${what}: namespaces({ holders: [] })`, 'ms', times.processes, 'lsns', times.lsns, {
        ...(count === 10_000 ? { bar: { most: 0.1 } } : {}),
      }),
      compared(`${what}: with mounts and descriptors`, 'ms', times.everything, 'lsns', times.lsns),
    )
  }
  return rows
}

const pooled: Part = async ({ rounds }) => {
  const size = 4
  await using pool = namespaces.pool({ kinds: 'net', size })
  const file = program('true')
  const options = { ...isolated, namespaces: [] }
  const times = await inTurns(rounds(100, 20), {
    pooled: async () => {
      await until(() => pool.ready === size)
      const start = performance.now()
      using taken = await pool.take()
      await ours({ ...options, steps: [setns(taken.net, 'net')] }, file)
      return performance.now() - start
    },
    fresh: () => ours({ ...options, namespaces: ['net'] }, file),
    none: () => ours(options, file),
  })
  return [
    compared('network namespace from a pool', 'ms', times.pooled, 'a new one', times.fresh),
    compared('network namespace from a pool', 'ms', times.pooled, 'none of its own', times.none),
  ]
}
