// cgroup.subtree_control, and its rules.
import { expect, test } from '@jest/globals'
import { join } from 'node:path'
import { cgroups } from 'fancyproc'
import { make, sleeper, thrown, useScratch } from './support/cgroups.ts'
import { facts, on } from './support/machine.ts'

on({ user: 'root', cgroup: 'v2-any' }).describe('controllers', () => {
  useScratch()

  const [controller = ''] = facts.controllers

  on(facts.controllers.length > 0 ? {} : { controllers: 'hugetlb' }).describe('the rules', () => {
    test('enabled downwards, as far as needed', async () => {
      await using above = await make('above')
      await using below = await cgroups.create('below', {}, { parent: above })
      await below.enable([controller, controller])
      expect(await above.read('cgroup.subtree_control')).toContain(controller)
      expect(await below.read('cgroup.subtree_control')).toContain(controller)
      await below.enable([controller])
    })

    test('not where there are processes', async () => {
      await using above = await make('populated')
      await using below = await cgroups.create('below', {}, { parent: above })
      const child = sleeper()
      await above.add(child)
      for (const action of [above.enable([controller]), below.enable([controller])]) {
        const error = await thrown(action)
        expect(error).toMatchObject({ code: 'EBUSY', path: join(above.path, 'cgroup.subtree_control') })
        expect(error['hint']).toMatch(/has processes of its own.*no internal processes/)
        expect(error['hint']).toContain(`(pid ${String(child.pid)})`)
      }
      expect((await above.read('cgroup.subtree_control')).trim()).toBe('')
    })

    test('not below a threaded one', async () => {
      await using above = await make('domain')
      await using threaded = await cgroups.create(
        'threaded',
        { 'cgroup.type': 'threaded' },
        { parent: above },
      )
      for (const name of facts.controllers.slice(0, 8)) {
        if (['cpu', 'cpuset', 'pids'].includes(name)) {
          await threaded.enable([name])
          continue
        }
        const error = await thrown(threaded.enable([name]))
        expect(error).toMatchObject({
          code: 'EOPNOTSUPP',
          path: join(threaded.path, 'cgroup.subtree_control'),
        })
        expect(error['hint']).toMatch(/^its type is 'threaded'/)
      }
    })

    test('no process where one is enabled for children', async () => {
      await using above = await make('enabled')
      await using below = await cgroups.create('below', {}, { parent: above })
      await above.enable([controller])
      await below.add(sleeper())
      // pids and cpu alone would let it become a threaded domain.
      const error = await thrown(above.add(sleeper()))
      expect(error).toMatchObject({ code: 'EBUSY', syscall: 'write' })
      expect(error['hint']).toContain(`enabled for its children (${controller})`)
    })

    test('disabled from below upwards', async () => {
      await using above = await make('disable')
      await using middle = await cgroups.create('middle', {}, { parent: above })
      await using below = await cgroups.create('below', {}, { parent: middle })
      await middle.enable([controller])
      await below.enable([controller])
      expect(await above.enabled()).toEqual([controller])
      // The kernel's own answer, and what is made of it.
      const error = await thrown(above.write('cgroup.subtree_control', `-${controller}`))
      expect(error).toMatchObject({ code: 'EBUSY' })
      expect(error['hint']).toBe(`${middle.path} has the controller enabled for its own children`)
      await above.disable([controller, controller])
      for (const group of [above, middle, below]) expect(await group.enabled()).toEqual([])
      expect(await above.controllers()).toContain(controller)
      expect(await middle.controllers()).toEqual([])
      await above.disable([controller])
      await expect(above.disable(['-pids'])).rejects.toThrow(/^controllers\[0\]: /)
    })

    test('names are checked', async () => {
      await using group = await make('names')
      await expect(group.enable(['+pids'])).rejects.toThrow(/^controllers\[0\]: /)
      await expect(group.enable('pids' as unknown as string[])).rejects.toThrow(
        /^controllers: expected an array/,
      )
      expect(await thrown(group.enable(['nonsense']))).toMatchObject({ code: 'ENOENT' })
    })
  })
})
