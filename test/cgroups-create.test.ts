// Making cgroups, with what is written to them.
import { expect, test } from '@jest/globals'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { cgroups } from 'fancyproc'
import {
  directories,
  make,
  membership,
  root,
  scratch,
  sleeper,
  thrown,
  useScratch,
} from './support/cgroups.ts'
import { on } from './support/machine.ts'

const namespace =
  /\[(\d+)\]/.exec(
    existsSync('/proc/self/ns/pid') ? execFileSync('readlink', ['/proc/self/ns/pid']).toString() : '',
  )?.[1] ?? ''

on({ user: 'root', cgroup: 'v2-any' }).describe('create', () => {
  useScratch()

  test('carries the identity of its owner, and goes with dispose', async () => {
    let path: string
    {
      await using group = await make('demo', { 'cgroup.max.depth': 3 })
      path = group.path
      const start = readFileSync('/proc/self/stat', 'utf8').split(') ')[1]?.split(' ')[19] ?? ''
      expect(group.name).toBe(`fancyproc.${namespace}.${String(process.pid)}.${start}.demo`)
      expect(group.path).toBe(join(scratch, group.name))
      expect(await group.read('cgroup.max.depth')).toBe('3\n')
      expect(statSync(`/proc/self/fd/${String(group.fd)}`).ino).toBe(statSync(path).ino)
      expect(String(group)).toBe(`cgroup ${path}`)
    }
    expect(existsSync(path)).toBe(false)
  })

  test('goes below the own cgroup, or the nearest above it', async () => {
    await using group = await cgroups.create('default')
    expect(`${membership(process.pid)}/`.startsWith(`${dirname(group.path)}/`.replace(/\/+$/, '/'))).toBe(
      true,
    )
  })

  test('twice is EEXIST, and the first stays', async () => {
    await using group = await make('twice')
    const error = await thrown(make('twice'))
    expect(error).toMatchObject({ name: 'KernelError', code: 'EEXIST', syscall: 'mkdir', path: group.path })
    expect(error['hint']).toMatch(/open\(\) it/)
    expect(existsSync(group.path)).toBe(true)
  })

  test('leaves nothing behind when a write fails', async () => {
    const error = await thrown(make('failing', { 'cgroup.max.depth': 'many' }))
    expect(error).toMatchObject({ code: 'EINVAL', syscall: 'write' })
    expect(error['path']).toMatch(/failing\/cgroup\.max\.depth$/)
    expect(error['hint']).toBe('the kernel does not take "many" here')
    expect(directories(scratch)).toEqual([])
  })

  test('names the files there are for one that is not', async () => {
    const error = await thrown(make('typo', { 'cgroup.max.dept': 1 }))
    expect(error).toMatchObject({ code: 'ENOENT' })
    expect(error['hint']).toMatch(/cgroup\.max\.depth/)
    expect(directories(scratch)).toEqual([])
  })

  test('a controller that the kernel does not know', async () => {
    const error = await thrown(make('nonsense', { 'nonsense.max': 1 }))
    expect(error).toMatchObject({ code: 'ENOENT', path: join(root, 'cgroup.subtree_control') })
    expect(error['hint']).toMatch(/nonsense is no controller/)
    expect(directories(scratch)).toEqual([])
  })

  on({ cgroup: 'hybrid' }).test('a controller that v1 has', async () => {
    const error = await thrown(make('v1', { 'memory.max': 64 << 20, 'pids.max': 16 }))
    expect(error).toMatchObject({ name: 'KernelError', code: 'ENOENT' })
    expect(error['hint']).toBe(
      `memory is in the v1 hierarchy mounted at ${join(dirname(root), 'memory')}; ` +
        `pids is in the v1 hierarchy mounted at ${join(dirname(root), 'pids')}`,
    )
    expect(directories(scratch)).toEqual([])
  })

  test('detached: a plain name that dispose leaves, and an open() of it', async () => {
    const group = await make('plain', {}, { detached: true })
    expect(group.name).toBe('plain')
    await group[Symbol.asyncDispose]()
    expect(existsSync(group.path)).toBe(true)
    expect((await cgroups.sweep({ parent: scratch, kill: true })).removed).toEqual([])
    const opened = await cgroups.open(group.path)
    await opened.remove()
    await opened.remove()
    expect(existsSync(group.path)).toBe(false)
  })

  test('a parent that is a Cgroup, and a subtree that goes with it', async () => {
    const above = await make('above')
    const below = await cgroups.create('below', {}, { parent: above })
    const lowest = await cgroups.create('lowest', {}, { parent: below.path })
    await below.add(sleeper())
    await above[Symbol.asyncDispose]()
    expect(existsSync(above.path)).toBe(false)
    // Its fd is still open, and what it was is gone.
    for (const group of [below, lowest]) {
      await group[Symbol.asyncDispose]()
      expect(group.fd).toBe(-1)
    }
  })
})

on({ user: 'root', cgroup: 'v2-any' }).describe('files', () => {
  useScratch()

  test('reads and writes raw text', async () => {
    await using group = await make('files')
    await group.write('cgroup.max.descendants', 5n)
    expect(await group.read('cgroup.max.descendants')).toBe('5\n')
    await group.write('cgroup.max.descendants', 'max')
    expect(await group.read('cgroup.max.descendants')).toBe('max\n')
    await expect(group.write('cgroup.type', 'nonsense')).rejects.toMatchObject({ code: 'EINVAL' })
    await expect(group.write('cgroup.controllers', 1)).rejects.toMatchObject({ code: 'EINVAL' })
    await expect(group.read('../cgroup.procs')).rejects.toThrow(/^file: /)
  })

  on({ controllers: 'hugetlb' }).test('of a controller that it enables', async () => {
    await using group = await make('hugetlb', { 'hugetlb.2MB.max': 4 << 20 })
    expect(await group.read('hugetlb.2MB.max')).toBe(`${String(4 << 20)}\n`)
    expect(await group.controllers()).toContain('hugetlb')
    await using plain = await cgroups.create('plain', {}, { parent: group })
    const error = await thrown(plain.read('hugetlb.2MB.max'))
    expect(error['hint']).toMatch(/^hugetlb is not enabled for this cgroup/)
  })

  on({ controllers: ['memory', 'pids'] }).test('memory.max and pids.max', async () => {
    await using group = await make('limits', { 'memory.max': 64 << 20, 'pids.max': 16 })
    expect(await group.read('memory.max')).toBe(`${String(64 << 20)}\n`)
    expect(await group.read('pids.max')).toBe('16\n')
    await group.write('pids.max', 'max')
    expect(await group.read('pids.max')).toBe('max\n')
    expect(await group.oomKills()).toBe(0)
  })

  test('of one that is gone', async () => {
    const group = await make('gone')
    rmdirSync(group.path)
    for (const action of [
      group.read('cgroup.events'),
      group.write('cgroup.freeze', 1),
      group.procs(),
      group.kill(),
    ]) {
      expect(await thrown(action)).toMatchObject({ code: 'ENOENT', hint: 'this cgroup has been removed' })
    }
    await group.empty()
    await group.remove()
    expect(group.fd).toBe(-1)
  })

  test('of another one with its name are left alone', async () => {
    const group = await make('name', {}, { detached: true })
    const parent = await make('parent', {}, { detached: true })
    for (const { path } of [group, parent]) {
      rmdirSync(path)
      mkdirSync(path)
    }
    const child = sleeper()
    const other = await cgroups.open(group.path)
    await other.add(child)
    for (const action of [
      group.get('cgroup.events'),
      group.set('cgroup.freeze', true),
      group.write('cgroup.freeze', 1),
      group.add(child),
      group.enable([]),
      group.kill(),
      cgroups.create('below', {}, { parent }),
    ]) {
      expect(await thrown(action)).toMatchObject({ code: 'ENOENT', hint: 'this cgroup has been removed' })
    }
    expect((await thrown(group.procs())).message).toContain(`'${group.path}/cgroup.procs'`)
    await group.empty()
    await group.remove({ kill: true })
    await parent.remove()
    expect(await other.procs()).toEqual([child.pid])
    expect(await other.events()).toEqual({ populated: true, frozen: false })
    expect(existsSync(parent.path)).toBe(true)
    await other.remove({ kill: true })
    rmdirSync(parent.path)
  })

  test('of one that was closed', async () => {
    const group = await make('closed')
    // What has begun goes on.
    const events = group.events()
    group.close()
    expect(await events).toEqual({ populated: false, frozen: false })
    expect((await thrown(group.events())).message).toBe(`cgroup: ${group.path} has been closed`)
    // It was left to itself.
    await group[Symbol.asyncDispose]()
    await (await cgroups.open(group.path)).remove()
    const gone = await make('removed')
    await gone.remove()
    expect(await thrown(gone.events())).toMatchObject({
      code: 'ENOENT',
      hint: 'this cgroup has been removed',
    })
  })

  on({ cgroup: 'hybrid' }).test('no OOM kills where memory is of v1', async () => {
    await using group = await make('oom')
    expect(await group.oomKills()).toBeUndefined()
  })
})
