// Pids that another process has got: nothing that was meant for the first one reaches him.
import { expect, jest, test } from '@jest/globals'
import { existsSync, readFileSync } from 'node:fs'
import { type Process, spawn, type SpawnOptions } from 'fancyproc'
import { uidMap } from 'fancyproc/steps'
import { killEach } from '../lib/cgroups/kill.ts'
import { native } from '../lib/native.ts'
import { make, membership, useScratch } from './support/cgroups.ts'
import { on } from './support/machine.ts'
import { children, status } from './support/proc.ts'

const quiet: SpawnOptions = { stdio: 'ignore' }

/** Blocks the event loop, which neither the spawner nor the watcher needs. */
function until(condition: () => boolean): void {
  while (!condition()) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
}

/** Ends a process of ours, and starts a stranger with its pid, in one turn of the event loop. */
function replace(pid: number, options: SpawnOptions = {}): Process {
  process.kill(pid, 'SIGKILL')
  until(() => !existsSync(`/proc/${String(pid)}`))
  const stranger = spawn('sleep', ['1000'], { ...quiet, ...options, setTid: [pid] })
  until(() => existsSync(`/proc/${String(pid)}`))
  return stranger
}

on({ user: 'root', cgroup: 'v2-any' }).describe('in a cgroup', () => {
  useScratch()

  test('between the list and the pidfd', async () => {
    await using group = await make('reused')
    const first = await spawn('sleep', ['1000'], { ...quiet, cgroup: group }).spawned
    const pid = first.pid!
    const pidfdOpen = native().pidfdOpen.bind(native())
    let stranger: Process | undefined
    const opening = jest.spyOn(native(), 'pidfdOpen').mockImplementation((asked) => {
      if (asked === pid) stranger ??= replace(pid)
      return pidfdOpen(asked)
    })
    try {
      await killEach(group.path)
    } finally {
      opening.mockRestore()
    }
    expect(await first.exited).toMatchObject({ signal: 'SIGKILL' })
    await using other = await stranger!.spawned
    expect(other.pid).toBe(pid)
    expect(membership(pid)).not.toBe(group.path)
    expect(other.kill(0)).toBe(true)
    expect(status(pid, 'State')).toMatch(/^[RS]/)
  })
})

// The map is written by path: that must be the held child's own.
on({ user: 'root', userns: true }).test('of a child that waits for its id map', async () => {
  const before = children('self')
  const ranges = [{ inside: 0, outside: 100_000, count: 10 }]
  const child = spawn('true', { ...quiet, namespaces: ['user'], steps: [uidMap(ranges)] })
  const isOurs = (pid: number): boolean => !before.includes(pid)
  until(() => children('self').some((pid) => isOurs(pid) && status(pid, 'State').startsWith('S')))
  const pid = children('self').find(isOurs)!
  // It has asked, and we have not heard it.
  await using stranger = replace(pid, { namespaces: ['user'] })
  await expect(child.exited).rejects.toMatchObject({ code: 'SIGKILL' })
  await stranger.spawned
  expect(stranger.pid).toBe(pid)
  expect(readFileSync(`/proc/${String(pid)}/uid_map`, 'latin1')).toBe('')
})
