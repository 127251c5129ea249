// How a process ends that the OOM killer takes, and one that somebody else kills beside it.
import { expect, test } from '@jest/globals'
import { type Cgroup, type CgroupFiles, cgroups, spawn } from 'fancyproc'
import { on } from './support/machine.ts'

/** A cgroup that may hold 64 MB. */
async function small(name: string, more: CgroupFiles = {}): Promise<Cgroup> {
  return cgroups.create(name, { 'memory.max': 64 << 20, 'memory.swap.max': 0, ...more })
}

/** Takes memory without an end: a line of zeros. */
const hog = ['tail', ['/dev/zero']] as const

on({ user: 'root', cgroup: 'v2-any', controllers: ['memory'] }).describe('exited says who it was', () => {
  test('the OOM killer', async () => {
    await using cgroup = await small('hog')
    await using changes = cgroup.watch('memory.events')
    const { exited } = spawn(...hog, { cgroup, stdio: 'ignore' })
    const told = changes.next()
    expect(await exited).toMatchObject({ code: null, signal: 'SIGKILL', reason: 'oom_kill' })
    expect((await told).value?.changed.length).toBeGreaterThan(0)
    expect(await cgroup.oomKills()).toBe(1)
  })

  test('the OOM killer, by the limit of a cgroup above', async () => {
    await using above = await small('above')
    await using below = await cgroups.create('below', {}, { parent: above })
    expect(await below.controllers()).not.toContain('memory')
    const { exited } = spawn(...hog, { cgroup: below, stdio: 'ignore' })
    expect(await exited).toMatchObject({ signal: 'SIGKILL', reason: 'oom_kill' })
  })

  test('the OOM killer, with all others of the cgroup', async () => {
    await using cgroup = await small('group', { 'memory.oom.group': 1 })
    const other = spawn('sleep', ['1000'], { cgroup, stdio: 'ignore' })
    await other.spawned
    const { exited } = spawn(...hog, { cgroup, stdio: 'ignore' })
    expect((await exited).reason).toBe('oom_kill')
    expect(await other.exited).toMatchObject({ signal: 'SIGKILL', reason: 'oom_kill' })
  })

  test('another process', async () => {
    await using cgroup = await small('other')
    const { exited } = spawn('sh', ['-c', 'kill -KILL $$'], { cgroup, stdio: 'ignore' })
    expect(await exited).toMatchObject({ signal: 'SIGKILL', reason: 'signaled' })
  })

  test('we, while the OOM killer took another', async () => {
    await using cgroup = await small('beside')
    const abort = new AbortController()
    const sleepers = [undefined, abort.signal].map((signal) =>
      spawn('sleep', ['1000'], { cgroup, stdio: 'ignore', killSignal: 'SIGKILL', signal }),
    )
    const [killed, aborted] = sleepers
    await Promise.all(sleepers.map(({ spawned }) => spawned))
    const { exited } = spawn(...hog, { cgroup, stdio: 'ignore' })
    expect((await exited).reason).toBe('oom_kill')
    killed?.kill('SIGKILL')
    abort.abort()
    expect(await killed?.exited).toMatchObject({ signal: 'SIGKILL', reason: 'signaled' })
    expect(await aborted?.exited).toMatchObject({ signal: 'SIGKILL', reason: 'aborted' })
  })
})

on({ user: 'root', cgroup: 'v2-any' }).test('without the memory controller nobody is blamed', async () => {
  await using cgroup = await cgroups.create('plain')
  const { exited } = spawn('sh', ['-c', 'kill -KILL $$'], { cgroup, stdio: 'ignore' })
  expect(await exited).toMatchObject({ signal: 'SIGKILL', reason: 'signaled' })
})
