// What an older kernel lacks is an error that names the kernel which has it.
import { describe, expect } from '@jest/globals'
import { mkdirSync } from 'node:fs'
import { cgroups, namespaces, pressure, run } from 'fancyproc'
import { makePrivate, mount, overlayData } from 'fancyproc/steps'
import { isolated } from './support/isolated.ts'
import { facts, on } from './support/machine.ts'
import { scratch } from './support/scratch.ts'

const path = scratch()
const MB = 1 << 20
const SECOND = 1_000_000
const needs = (kernel: string): unknown =>
  expect.stringContaining(`it needs Linux ${kernel}, this is ${facts.kernel}`)

describe('of a cgroup', () => {
  const root = { user: 'root', cgroup: 'v2' } as const

  on({ ...root, before: '5.14' }).test('cgroup.kill, for which kill() has a substitute', async () => {
    await using cgroup = await cgroups.create('lacking')
    await expect(cgroup.write('cgroup.kill', '1')).rejects.toMatchObject({
      code: 'ENOENT',
      hint: needs('5.14'),
    })
    await cgroup.kill()
  })

  on({ ...root, before: '5.14', controllers: 'cpu' }).test('cpu.max.burst', async () => {
    await expect(cgroups.create('lacking', { 'cpu.max.burst': 1000 })).rejects.toMatchObject({
      code: 'ENOENT',
      hint: needs('5.14'),
    })
  })

  on({ ...root, before: '5.19', controllers: 'memory' }).test('reclaim()', async () => {
    await using cgroup = await cgroups.create('lacking', { 'memory.max': 64 * MB })
    await expect(cgroup.reclaim(MB)).rejects.toMatchObject({ code: 'ENOENT', hint: needs('5.19') })
  })

  // Earlier, the file itself is missing.
  on({ ...root, kernel: '5.19', before: '6.9', controllers: 'memory' }).test(
    'reclaim() by swappiness',
    async () => {
      await using cgroup = await cgroups.create('lacking', { 'memory.max': 64 * MB })
      await expect(cgroup.reclaim(MB, { swappiness: 0 })).rejects.toMatchObject({
        code: 'EINVAL',
        hint: 'swappiness needs Linux 6.9',
      })
    },
  )

  on({ ...root, kernel: '6.9', before: '6.16', controllers: 'memory' }).test(
    "reclaim() by swappiness 'max'",
    async () => {
      await using cgroup = await cgroups.create('lacking', { 'memory.max': 64 * MB })
      await expect(cgroup.reclaim(MB, { swappiness: 'max' })).rejects.toMatchObject({
        code: 'EINVAL',
        hint: 'swappiness needs Linux 6.16',
      })
    },
  )
})

on({ before: '6.11' }).test('translation of pids between pid namespaces', () => {
  using own = namespaces.open('/proc/self/ns/pid')
  const refusal = expect.objectContaining({
    code: 'ENOTTY',
    hint: expect.stringMatching(/^before Linux 6\.11 /) as unknown,
  }) as unknown as Error
  expect(() => own.pidInside(process.pid)).toThrow(refusal)
  expect(() => own.pidOutside(1)).toThrow(refusal)
})

on({ user: 'ordinary', psi: true, before: '6.5' }).test(
  'triggers on the whole machine for an ordinary user',
  async () => {
    const trigger = pressure.watch('memory', 'some', SECOND, 2 * SECOND)
    await expect(trigger.next()).rejects.toMatchObject({
      hint: expect.stringContaining('Linux 6.5') as unknown,
    })
  },
)

on({ user: 'ordinary', userns: true, before: '5.11' }).test(
  'overlays in a user namespace, with or without userxattr',
  async () => {
    for (const name of ['lower', 'upper', 'work', 'over']) mkdirSync(path(name))
    const [lowerdir, upperdir, workdir] = ['lower', 'upper', 'work'].map((name) => path(name))
    for (const options of [[], ['userxattr']]) {
      const data = overlayData({ lowerdir: lowerdir!, upperdir: upperdir!, workdir: workdir!, options })
      const overlay = mount({ source: 'overlay', target: path('over'), type: 'overlay', data })
      const child = run('true', [], isolated(['mnt'], makePrivate('/', { recursive: true }), overlay))
      await expect(child).rejects.toMatchObject({
        syscall: 'mount',
        hint: expect.stringContaining('5.11') as unknown,
      })
    }
  },
)
