// The spawner pool: many spawns, spawns that wait, and spawns that are given up at any moment.
import { beforeAll, describe, expect, test } from '@jest/globals'
import { promises as fs, readdirSync, readFileSync, readlinkSync, watch, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Cgroup, cgroups, type Process, run, type RunResult, spawn, type SpawnOptions } from 'fancyproc'
import { chdir, clone, gidMap, type IdRange, mapUser, type Steps, uidMap, unshare } from 'fancyproc/steps'
import { facts, on, scaled } from './support/machine.ts'
import { begun, blocked, scratch } from './support/scratch.ts'
import { leaks, type Leaks, settled } from './support/state.ts'

const directory = scratch()
const quiet: SpawnOptions = { stdio: 'ignore' }
const AT_ONCE = 32

let baseline: Leaks

beforeAll(async () => {
  // What libuv opens and starts at first use stays.
  watch('/').close()
  await Promise.all(Array.from({ length: AT_ONCE }, () => Promise.all([run('true'), fs.stat('/')])))
  baseline = leaks()
})

function spawners(): number {
  const names = readdirSync('/proc/self/task').map((task) =>
    readFileSync(`/proc/self/task/${task}/comm`, 'latin1'),
  )
  return names.filter((name) => name === 'fancyproc:spawn\n').length
}

/** What the pool may have grown to: a thread for each launch that was under way, or those it begins with. */
const most = Math.max(AT_ONCE, Math.min(Math.max(availableParallelism(), 2), 16))

async function many(count: number, action: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) await action(next++)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}

test('2,000 spawns of all kinds leave no descriptor, thread, child, mount nor cgroup', async () => {
  const isolated: SpawnOptions = facts.userns
    ? { namespaces: ['user', 'mnt', 'pid', 'net'], steps: mapUser() }
    : {}
  const cloned: SpawnOptions = facts.userns ? { steps: [unshare(['user', 'pid']), mapUser(), clone()] } : {}
  const kinds: (() => Promise<unknown>)[] = [
    () => run('true'),
    () => spawn('true', [], quiet).exited,
    () => spawn('true', [], { ...quiet, ...isolated }).exited,
    () => spawn('true', [], { ...quiet, ...cloned }).exited,
    () => spawn('true', [], { stdio: 'pty' }).exited,
    () => expect(run('/nowhere/to/be/found')).rejects.toMatchObject({ code: 'ENOENT' }),
    () => expect(run('true', [], { steps: [chdir('/nowhere')] })).rejects.toMatchObject({ code: 'ENOENT' }),
    () => {
      const child = spawn('sleep', ['100'])
      child.kill('SIGKILL')
      return expect(child.exited).resolves.toMatchObject({ signal: 'SIGKILL' })
    },
  ]
  await many(scaled(2000), (i) => kinds[i % kinds.length]!())
  expect(await settled(baseline)).toEqual(baseline)
  expect(spawners()).toBeLessThanOrEqual(most)
}, 300_000)

on({ user: 'root', cgroup: 'v2-any' }).test('nor do spawns into cgroups of their own', async () => {
  await many(scaled(64), async () => {
    await using cgroup = await cgroups.create(`pool${String(Math.random()).slice(2)}`)
    await spawn('true', [], { ...quiet, cgroup }).exited
  })
  expect(await settled(baseline)).toEqual(baseline)
})

describe('given up', () => {
  const dying: [name: string, needs: object, steps: () => Steps[]][] = [
    ['a plain one', {}, () => []],
    // The signal may find its maker, or both, or the new one only.
    [
      'one that clones on the way',
      { userns: true },
      () => [unshare('user'), mapUser(), clone(), clone('pid')],
    ],
  ]
  for (const [name, needs, steps] of dying) {
    on(needs).test(`at any moment, ${name} leaves nothing`, async () => {
      const count = scaled(200)
      for (let i = 0; i < count; i++) {
        const child = spawn('sleep', ['100'], { ...quiet, steps: steps() })
        // From its very beginning to when its program runs, a launch taking about one millisecond.
        const until = performance.now() + (i / count) * 3
        while (performance.now() < until) continue
        expect(child.kill('SIGKILL')).toBe(true)
        expect(await child.exited).toMatchObject({ code: null, signal: 'SIGKILL' })
      }
      expect(await settled(baseline)).toEqual(baseline)
    })
  }
})

// The new process asks for it, and may do so before its maker has ended.
on({ user: 'root', userns: true }).test(
  'a map that this process writes is for whom a clone step made',
  async () => {
    const ranges = (outside: number): IdRange[] => [
      { inside: 0, outside, count: 1 },
      { inside: 5, outside: outside + 7, count: 2 },
    ]
    for (let i = 0; i < scaled(100); i++) {
      const steps = [clone('user'), uidMap(ranges(0)), gidMap(ranges(100))]
      const { stdout } = await run('cat', ['/proc/self/uid_map', '/proc/self/gid_map'], { steps })
      expect(stdout.replace(/ +/g, ' ')).toBe(' 0 0 1\n 5 7 2\n 0 100 1\n 5 107 2\n')
    }
  },
)

test('steps that wait hold up neither the event loop, nor libuv, nor other spawns', async () => {
  const fifos = Array.from({ length: 2 * AT_ONCE }, (_, i) => directory(`wait${String(i)}`))
  const waiting = fifos.map((fifo) => spawn('true', [], { ...quiet, steps: blocked(fifo) }))
  await Promise.all(waiting.map(begun))
  await new Promise(setImmediate)
  await fs.stat('/')
  const ends = await Promise.all(Array.from({ length: AT_ONCE }, () => run('echo', ['through'])))
  expect(ends.map(({ stdout }) => stdout)).toEqual(Array(AT_ONCE).fill('through\n'))
  expect(waiting.map(({ pid }) => pid)).toEqual(waiting.map(() => undefined))

  for (const fifo of fifos) writeFileSync(fifo, '')
  for (const child of waiting) expect(await child.exited).toMatchObject({ code: 0 })
  await Promise.all(waiting.map((child) => child[Symbol.asyncDispose]()))
  expect(await settled(baseline)).toEqual(baseline)
})

on({ user: 'root', cgroup: 'v2-any' }).describe('a frozen cgroup', () => {
  test('is refused before anything has happened', async () => {
    await using cgroup = await cgroups.create('frozen')
    await cgroup.freeze()
    expect(() => spawn('true', [], { cgroup })).toThrow(expect.objectContaining({ code: 'EAGAIN' }))
    expect(await cgroup.procs()).toEqual([])
    await cgroup.thaw()
    expect(await spawn('true', [], { cgroup }).exited).toMatchObject({ code: 0 })
  })

  /** How many share our memory still, as they could not get any further. */
  const parked = (pids: number[]): number =>
    pids.filter((pid) => readlinkSync(`/proc/${String(pid)}/exe`) === process.execPath).length

  const beside: Promise<RunResult>[] = []

  /**
   * Spawns more than there are spawners, and freezes the cgroup, so that the last ones come too late. A network
   * namespace makes clone3 take longer than spawn() does: in an emulated machine the spawners would keep up.
   */
  const freezeAmid = async (cgroup: Cgroup): Promise<Process[]> => {
    const options: SpawnOptions = { ...quiet, cgroup, namespaces: ['net'] }
    const children = Array.from({ length: 64 }, () => spawn('true', [], options))
    writeFileSync(join(cgroup.path, 'cgroup.freeze'), '1')
    // Its pipes are open here while those are cloned; a frozen one must not hold them.
    beside.push(run('echo', ['beside']))
    const ended = new Set<Process>()
    for (const child of children) void child.exited.then(() => ended.add(child))
    while ((await cgroup.procs()).length + ended.size < children.length) await sleep(5)
    return children.filter((child) => !ended.has(child))
  }

  test('that was frozen meanwhile parks spawners; others go on, and who is parked can be killed', async () => {
    await using cgroup = await cgroups.create('freezing')
    let children = await freezeAmid(cgroup)
    for (let attempt = 0; attempt < 5 && parked(await cgroup.procs()) < 2; attempt++) {
      await cgroup.thaw()
      await Promise.all(children.map((child) => child.exited))
      children = await freezeAmid(cgroup)
    }
    expect(parked(await cgroup.procs())).toBeGreaterThan(1)
    expect((await run('echo', ['through'])).stdout).toBe('through\n')
    for (const { stdout } of await Promise.all(beside)) expect(stdout).toBe('beside\n')

    const [some, others] = [children.filter((_, i) => i % 2 === 0), children.filter((_, i) => i % 2 === 1)]
    for (const child of some) child.kill('SIGKILL')
    for (const child of some) expect(await child.exited).toMatchObject({ signal: 'SIGKILL' })
    await cgroup.thaw()
    for (const child of others) expect(await child.exited).toMatchObject({ code: 0 })
    await cgroup.remove()
    expect(await settled(baseline)).toEqual(baseline)
  })
})
