// Threaded subtrees: the threads of a process in several cgroups.
import { expect, test } from '@jest/globals'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { cgroups } from 'fancyproc'
import { killEach } from '../lib/cgroups/kill.ts'
import { endAfter, make, root, sleeper, thrown, useScratch } from './support/cgroups.ts'
import { facts, on } from './support/machine.ts'

/** A process with several threads. */
async function threads(): Promise<{ pid: number; tids: number[] }> {
  const script = 'console.log("ready"); setInterval(() => undefined, 1000)'
  const child = endAfter(spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] }))
  await once(child.stdout, 'data')
  const pid = child.pid ?? 0
  const tids = readdirSync(`/proc/${String(pid)}/task`).map(Number)
  return { pid, tids: tids.filter((tid) => tid !== pid) }
}

on({ user: 'root', cgroup: 'v2-any' }).describe('a threaded subtree', () => {
  useScratch()

  test('shares out the threads of a process', async () => {
    await using domain = await make('domain')
    await using one = await cgroups.create('one', {}, { parent: domain })
    await using two = await cgroups.create('two', {}, { parent: one })
    await one.makeThreaded()
    expect(await one.get('cgroup.type')).toBe('threaded')
    expect(await domain.get('cgroup.type')).toBe('domain threaded')
    expect(await two.get('cgroup.type')).toBe('domain invalid')
    await two.makeThreaded()
    await two.makeThreaded()

    const { pid, tids } = await threads()
    const [first = 0, second = 0] = tids
    await domain.add(pid)
    await one.addThread(first)
    await two.addThread(second)
    expect(await one.threads()).toEqual([first])
    expect(await two.threads()).toEqual([second])
    expect(await domain.threads()).toContain(pid)
    expect(await domain.threads()).not.toContain(first)
    // Its processes are the domain's.
    expect(await domain.procs()).toEqual([pid])
    expect((await thrown(two.procs()))['hint']).toMatch(/cgroup\.threads/)
    // Back to where the others are.
    await domain.addThread(first)
    expect(await one.threads()).toEqual([])
    // As kernels before 5.14 need it. Those below can't kill.
    expect(await thrown(killEach(two.path))).toMatchObject({ code: 'EOPNOTSUPP' })
    await killEach(domain.path)
    await domain.empty()
  })

  test('takes no thread of another domain', async () => {
    await using domain = await make('domain')
    await using one = await cgroups.create('one', { 'cgroup.type': 'threaded' }, { parent: domain })
    await using other = await make('other')
    const { pid, tids } = await threads()
    await other.add(pid)
    const error = await thrown(one.addThread(tids[0] ?? 0))
    expect(error).toMatchObject({ code: 'EOPNOTSUPP', syscall: 'write', path: `${one.path}/cgroup.threads` })
    expect(error['hint']).toBe(
      `thread ${String(tids[0])}, of ${other.path.slice(root.length)}, belongs to another domain than this cgroup, ` +
        `whose domain is ${domain.path}: move its process there first`,
    )
    await expect(one.addThread(2 ** 22 - 1)).rejects.toMatchObject({ code: 'ESRCH' })
    for (const bad of [0, -1, 1.5, NaN]) await expect(one.addThread(bad)).rejects.toThrow(/^addThread: tid: /)
  })

  test('says why a cgroup can not be one of it', async () => {
    await using above = await make('above')
    await using group = await cgroups.create('group', {}, { parent: above })
    await using below = await cgroups.create('below', {}, { parent: group })
    await using beside = await cgroups.create('beside', {}, { parent: above })
    const hintOf = async (action: Promise<void>): Promise<unknown> => {
      const error = await thrown(action)
      expect(error).toMatchObject({ code: 'EOPNOTSUPP', syscall: 'write' })
      return error['hint']
    }
    const child = sleeper()
    await below.add(child)
    expect(await hintOf(group.makeThreaded())).toBe(
      `processes are in ${below.path} (pid ${String(child.pid)}): a cgroup becomes threaded before it has any`,
    )
    await beside.add(child)
    expect(await hintOf(group.makeThreaded())).toBe(
      `${beside.path} has processes, and would be no valid domain any more`,
    )
    await above.add(child)
    await group.makeThreaded()
    const invalid = await hintOf(beside.add(child))
    expect(invalid).toContain(`(${above.path} is 'domain threaded')`)
    await using lowest = await cgroups.create('lowest', {}, { parent: beside })
    expect(await hintOf(lowest.makeThreaded())).toBe(
      `${beside.path} is 'domain invalid': make that threaded first`,
    )
  })

  const [domainOnly = 'memory'] = facts.controllers.filter(
    (name) => !['cpu', 'cpuset', 'pids'].includes(name),
  )
  on({ controllers: domainOnly }).test(
    'nor where a controller is enabled that knows no threads',
    async () => {
      await using above = await make('controlled')
      await using group = await cgroups.create('group', {}, { parent: above })
      await above.enable([domainOnly])
      expect((await thrown(group.makeThreaded()))['hint']).toBe(
        `${above.path} has ${domainOnly} enabled for its children, which can not tell threads apart`,
      )
      await above.disable([domainOnly])
      await group.makeThreaded()
      expect(await thrown(above.enable([domainOnly]))).toMatchObject({ code: 'EOPNOTSUPP' })
    },
  )
})
