// isolation(): what sets a process apart, beside /proc and what it was told to be.
import { afterAll, describe, expect, test } from '@jest/globals'
import { mkdirSync, statSync } from 'node:fs'
import { cgroups, isolation, type Namespace, type Process, spawn } from 'fancyproc'
import {
  bind,
  chroot,
  makePrivate,
  mapUser,
  mkdir,
  mount,
  namespaces as kinds,
  prctl,
  setNoNewPrivs,
  type Steps,
} from 'fancyproc/steps'
import { isolated, rights } from './support/isolated.ts'
import { facts, on } from './support/machine.ts'
import { namespace, status } from './support/proc.ts'
import { onRuntimes } from './support/runtimes.ts'
import { scratch } from './support/scratch.ts'
import { leaks, settled } from './support/state.ts'

const path = scratch()
const started: Process[] = []
afterAll(async () => {
  for (const child of started) await child[Symbol.asyncDispose]()
})

async function sleeper(list: readonly Namespace[], ...steps: Steps[]): Promise<Process> {
  const child = await spawn('sleep', ['1000'], isolated(list, ...steps)).spawned
  started.push(child)
  return child
}

const self = { from: process.pid }
const inodeOf = (pid: number | 'self' | undefined, kind: string): number =>
  Number(/\d+/.exec(namespace(pid, kind))?.[0])

test('nothing, from itself', async () => {
  const own = await isolation(process.pid, self)
  expect(isolation.rows(own).filter(({ differs }) => differs)).toEqual([])
  expect(own).toMatchObject({ pid: process.pid, from: process.pid, droppedCapabilities: [], mounts: [] })
  expect(own.capabilities.value?.effective).toBe(BigInt(`0x${status('self', 'CapEff')}`))
  expect(own.root.value?.inode).toBe(statSync('/').ino)
})

on(rights).test('namespaces, each beside that of the other', async () => {
  const list: Namespace[] = ['uts', 'net']
  const child = await sleeper(list)
  const { namespaces } = await isolation(child, self)
  const apart = facts.user === 'root' ? list : ['user', ...list]
  for (const kind of kinds) {
    expect(namespaces[kind]).toEqual({
      value: inodeOf(child.pid, kind),
      from: inodeOf('self', kind),
      differs: apart.includes(kind),
    })
  }
})

on({ userns: true }).test('id maps, as we see the ids', async () => {
  const child = await spawn('sleep', ['1000'], { namespaces: ['user'], steps: mapUser({ uid: 7 }) }).spawned
  started.push(child)
  const { uidMap } = await isolation(child, self)
  expect(uidMap).toMatchObject({
    value: [{ inside: 7, outside: process.getuid!(), count: 1 }],
    differs: true,
  })
})

on({ ...rights }).test('capabilities by name, no_new_privs', async () => {
  const child = await sleeper([], prctl('PR_CAPBSET_DROP', 13), setNoNewPrivs())
  const { droppedCapabilities, capabilities, noNewPrivs } = await isolation(child, self)
  expect(noNewPrivs).toEqual({ value: true, from: status('self', 'NoNewPrivs') === '1', differs: true })
  expect(capabilities.value?.bounding).toBe(BigInt(`0x${status(child.pid, 'CapBnd')}`))
  if (facts.user === 'root') expect(droppedCapabilities).toEqual(['CAP_NET_RAW'])
})

on(rights).test('a root of its own, and mounts that nobody else sees', async () => {
  const root = path('root')
  mkdirSync(root)
  const child = await sleeper(
    ['mnt'],
    makePrivate('/', { recursive: true }),
    mount({ source: 'fine', target: root, type: 'tmpfs' }),
    ['usr', 'lib', 'lib64', 'bin'].map((name) => [
      mkdir(`${root}/${name}`),
      bind(`/${name}`, `${root}/${name}`, { recursive: true }),
    ]),
    chroot(root),
  )
  const apart = await isolation(child, self)
  expect(apart.root.differs).toBe(true)
  expect(apart.mounts?.find(({ type }) => type === 'tmpfs')).toMatchObject({
    source: 'fine',
    mountPoint: '/',
  })
  expect(isolation.format(apart)).toMatch(/^own mounts +≠ +\d+$/m)
})

on({ user: 'root', controllers: 'pids' }).test('the limit that is in force, and whose it is', async () => {
  await using outer = await cgroups.create('isolation', { 'pids.max': 10 })
  await outer.enable(['pids'])
  await using inner = await cgroups.create('inner', { 'pids.max': 20 }, { parent: outer })
  await using child = await spawn('sleep', ['1000'], { cgroup: inner }).spawned
  const { limits, cgroup } = await isolation(child, self)
  expect(limits.value?.['pids.max']).toEqual({ value: 10, cgroup: outer.path })
  expect(cgroup.differs).toBe(true)
  await inner.set('pids.max', 5)
  expect((await isolation(child, self)).limits.value?.['pids.max']).toEqual({ value: 5, cgroup: inner.path })
})

describe('of a process', () => {
  onRuntimes(path, async (pid) => {
    const { namespaces, mounts, root } = await isolation(pid, self)
    const apart = kinds.filter((kind) => namespaces[kind].differs)
    expect(apart).toEqual(expect.arrayContaining(['mnt', 'pid', 'net', 'ipc', 'uts']))
    expect(mounts).toBeDefined()
    expect(root.value).toBeDefined()
  })
})

test('by default it is compared with process 1, or where that may not be looked at, with ourselves', async () => {
  let first = 1
  try {
    namespace(1, 'mnt')
  } catch {
    first = process.pid
  }
  expect((await isolation(process.pid)).from).toBe(first)
})

on({ user: 'ordinary' }).test(
  "another user's: what he may not see is unknown, and no exception",
  async () => {
    const { namespaces, capabilities, root } = await isolation(1)
    expect(namespaces.mnt).toEqual({ value: undefined, from: inodeOf('self', 'mnt'), differs: undefined })
    expect(root.value).toBeUndefined()
    expect(capabilities.value?.effective).toBeDefined()
  },
)

test('of one that has ended, and bad arguments; nothing stays open', async () => {
  const child = await spawn('sleep', ['1000']).spawned
  await isolation(child)
  const pid = child.pid!
  await child[Symbol.asyncDispose]()
  const before = leaks()
  await expect(isolation(pid)).rejects.toMatchObject({ code: 'ESRCH' })
  await expect(isolation(child)).rejects.toMatchObject({ code: 'ESRCH' })
  await expect(isolation(process.pid, { from: pid })).rejects.toMatchObject({ code: 'ESRCH' })
  await expect(isolation('1' as never)).rejects.toThrow('isolation: process')
  await expect(isolation(1, { to: 1 } as never)).rejects.toThrow('isolation: to')
  await expect(isolation(process.pid, { from: 'x' as never })).rejects.toThrow('isolation: from')
  expect(await settled(before)).toEqual(before)
})

on(rights).test('as text: aligned, what differs is marked', async () => {
  const text = isolation.format(await isolation(await sleeper(['uts'], setNoNewPrivs()), self))
  expect(text).toMatch(/^ns\/uts +\d+ +≠ +\d+$/m)
  expect(text).toMatch(/^ns\/net +\d+ +\d+$/m)
  expect(text).toMatch(/^no_new_privs +no +≠ +yes$/m)
})
