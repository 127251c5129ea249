// Where the hierarchy is, and what it has.
import { expect, test } from '@jest/globals'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { cgroups } from 'fancyproc'
import { membership, root } from './support/cgroups.ts'
import { facts, on } from './support/machine.ts'

on({ cgroup: 'v2-any' }).describe('the hierarchy', () => {
  test('where it is mounted', async () => {
    expect(await cgroups.mount()).toBe(root)
  })

  test('the own cgroup, and that of another process', async () => {
    const own = await cgroups.current()
    expect(own.path).toBe(membership(process.pid))
    expect(await own.procs()).toContain(process.pid)
    // Disposing of one that was only opened closes the fd.
    await own[Symbol.asyncDispose]()
    expect(own.fd).toBe(-1)
    expect(existsSync(own.path)).toBe(true)
    expect(await cgroups.pathOf(process.ppid)).toBe(membership(process.ppid))
    await expect(cgroups.pathOf(2 ** 22 + 1)).rejects.toMatchObject({
      code: 'ENOENT',
      hint: 'there is no such process',
    })
  })

  test('which controllers it has', async () => {
    expect(await cgroups.available()).toEqual(facts.controllers)
    for (const controller of facts.controllers) expect(await cgroups.explain(controller)).toBeUndefined()
  })

  test('why it does not have one', async () => {
    expect(await cgroups.explain('freezer')).toMatch(/freezer .*\bv1\b.*cgroup\.freeze/)
    expect(await cgroups.explain('cpuacct')).toMatch(/cpu\.stat/)
    expect(await cgroups.explain('perf_event')).toMatch(/in every cgroup/)
    expect(await cgroups.explain('nonsense')).toBe(
      'nonsense is no controller that this kernel was compiled with',
    )
  })

  on({ cgroup: 'hybrid' }).test('that v1 has it', async () => {
    const v1 = dirname(root)
    const taken = ['memory', 'pids', 'cpu', 'cpuset'].filter((name) => existsSync(join(v1, name)))
    expect(taken).not.toEqual([])
    for (const controller of taken) {
      expect(await cgroups.explain(controller)).toBe(
        `${controller} is in the v1 hierarchy mounted at ${join(v1, controller)}`,
      )
    }
    if (existsSync(join(v1, 'blkio'))) expect(await cgroups.explain('io')).toMatch(/blkio$/)
  })
})
