// How a process ends that the OOM killer takes, and one that somebody else kills beside it.
import { expect, test } from '@jest/globals'
import { type Cgroup, type CgroupFiles, cgroups, type KernelError, run, spawn } from 'fancyproc'
import { on } from './support/machine.ts'
import { leaks, settled } from './support/state.ts'

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
    const told = (async () => {
      // That the limit is hit may be told before.
      for await (const change of changes) if (change.changed.includes('oom_kill')) return change
      return undefined
    })()
    expect(await exited).toMatchObject({ code: null, signal: 'SIGKILL', reason: 'oom_kill' })
    expect(await told).toMatchObject({ previous: { oom_kill: 0 }, values: { oom_kill: 1 } })
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

on({ user: 'root', cgroup: 'v2-any', controllers: ['memory'] }).describe('hardly any memory at all', () => {
  test.each([
    ['1 MB', 1 << 20, hog],
    ['a page', 4096, ['true', []]],
  ] as const)(
    '%s: all launches fail, one after the other and at once; nothing is left',
    async (_, bytes, program) => {
      await using cgroup = await small('tiny', { 'memory.max': bytes })
      await run('true')
      const before = leaks()
      /** How it ended. */
      const launch = async (): Promise<string> => {
        const [file, args] = program
        try {
          const { reason } = await spawn(file, args, { cgroup, stdio: 'ignore' }).exited
          return reason
        } catch (error) {
          const { code, reason } = error as KernelError
          return reason ?? code
        }
      }
      const ends = await Promise.all(Array.from({ length: 10 }, launch))
      for (let i = 0; i < 10; i++) ends.push(await launch())
      // E2BIG: an execve of 5.10 that gets no page for its arguments.
      expect(ends.filter((end) => !['ENOMEM', 'oom_kill', 'E2BIG'].includes(end))).toEqual([])
      expect(await cgroup.procs()).toEqual([])
      expect(await settled(before)).toEqual(before)
      expect((await run('echo', ['outside'])).stdout).toBe('outside\n')
    },
  )
})

on({ user: 'root', cgroup: 'v2-any' }).test('without the memory controller nobody is blamed', async () => {
  await using cgroup = await cgroups.create('plain')
  const { exited } = spawn('sh', ['-c', 'kill -KILL $$'], { cgroup, stdio: 'ignore' })
  expect(await exited).toMatchObject({ signal: 'SIGKILL', reason: 'signaled' })
})
