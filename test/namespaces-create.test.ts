// namespaces.create() and pool(): held by descriptors, with nobody in them.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { readFileSync } from 'node:fs'
import { inNamespaces, namespaces, run } from 'fancyproc'
import {
  chdir,
  mapUser,
  namespaces as kinds,
  open,
  readFile,
  readlink,
  procfs,
  sendFd,
  sethostname,
  setns,
} from 'fancyproc/steps'
import { rights } from './support/isolated.ts'
import { facts, on } from './support/machine.ts'
import { namespace } from './support/proc.ts'
import { type Leaks, leaks, settled } from './support/state.ts'

const root = facts.user === 'root'
const held = kinds.filter((kind) => kind !== 'pid')
/** An ordinary user's are in a user namespace of his own. */
const own = root ? [] : (['user'] as const)
const mapped = root ? [] : mapUser()

let before: Leaks
beforeAll(async () => {
  await run('true', [])
  await namespaces()
  before = leaks()
})
afterAll(async () => {
  expect(await settled(before)).toEqual(before)
})

describe('create', () => {
  on(rights).test('of every kind, with no process in them, and no child of ours left', async () => {
    using created = await namespaces.create(held, [mapUser()])
    const all = await namespaces()
    for (const kind of held) {
      const { inode, fd } = created[kind]
      expect(created[kind].kind).toBe(kind)
      expect(`${kind}:[${String(inode)}]`).not.toBe(namespace('self', kind))
      const row = all.find((one) => one.inode === inode)
      expect(row).toMatchObject({ kind, pids: [], fds: [{ pid: process.pid, fd }] })
      if (kind !== 'user') expect(row?.owner).toBe(created.user.inode)
    }
  })

  on(rights).test('steps run in there, and what they send comes along', async () => {
    const file = open('/etc/passwd')
    const steps = [
      mapped,
      sethostname('quiet'),
      file,
      sendFd('file', file),
      readFile('text', '/etc/hostname'),
    ]
    using created = await namespaces.create([...own, 'uts'], steps)
    expect(readFileSync(created.results.fds['file']!.fd, 'utf8')).toBe(readFileSync('/etc/passwd', 'utf8'))
    expect(Object.keys(created)).toEqual([...own, 'uts'])
    using inside = await inNamespaces(created, [
      readFile('name', 'sys/kernel/hostname', { dirfd: procfs }),
      readlink('uts', 'self/ns/uts', { dirfd: procfs }),
    ])
    expect(String(inside.data['name'])).toBe('quiet\n')
    expect(String(inside.data['uts'])).toBe(`uts:[${String(created.uts.inode)}]`)
  })

  on(rights).test('a program joins them', async () => {
    using created = await namespaces.create([...own, 'net'], [mapped])
    const user = 'user' in created ? [setns(created.user, 'user')] : []
    const { stdout } = await run('readlink', ['/proc/self/ns/net'], {
      steps: [user, setns(created.net, 'net')],
    })
    expect(stdout).toBe(`net:[${String(created.net.inode)}]\n`)
  })

  on(rights).test('a step that fails: its index, and nothing is left', async () => {
    const failing = namespaces.create([...own, 'uts'], [[mapped], chdir('/proc/none')].flat())
    await expect(failing).rejects.toMatchObject({ code: 'ENOENT', step: root ? 0 : mapUser().length })
  })

  on({ user: 'ordinary' }).test('without a user namespace: EPERM, and what to do', async () => {
    await expect(namespaces.create('net')).rejects.toMatchObject({
      code: 'EPERM',
      hint: expect.stringContaining("'user'") as unknown,
    })
  })

  test('bad arguments', async () => {
    const create = namespaces.create as (...args: unknown[]) => Promise<unknown>
    await expect(create('pid')).rejects.toThrow(
      "create: kinds: a 'pid' namespace ends with its first process",
    )
    await expect(create([])).rejects.toThrow('create: kinds')
    await expect(create(['nets'])).rejects.toThrow('create: kinds')
    await expect(create('net', [7])).rejects.toThrow('create: steps[0]')
  })
})

describe('pool', () => {
  const options = { kinds: [...own, 'net' as const], size: 3, steps: [mapped] }

  async function full(pool: { ready: number }, size: number): Promise<void> {
    while (pool.ready < size) await new Promise(setImmediate)
  }

  on(rights).test('fills, is refilled, and closes what nobody has taken', async () => {
    await using pool = namespaces.pool(options)
    await full(pool, 3)
    const taken = [await pool.take(), await pool.take()]
    expect(pool.ready).toBe(1)
    await full(pool, 3)
    // More than are ready: each is a new one.
    for (let i = 0; i < 5; i++) taken.push(await pool.take())
    expect(new Set(taken.map(({ net }) => net.inode)).size).toBe(taken.length)
    for (const { net } of taken) expect(net.closed).toBe(false)
    for (const created of taken) created[Symbol.dispose]()
  })

  on(rights).test('closed while it fills', async () => {
    const pool = namespaces.pool(options)
    await pool.close()
    expect(pool.ready).toBe(0)
    await expect(pool.take()).rejects.toThrow('the pool is closed')
  })

  on(rights).test('what keeps it from making one is told to who takes one', async () => {
    await using pool = namespaces.pool({ ...options, steps: [mapped, chdir('/proc/none')] })
    await expect(pool.take()).rejects.toMatchObject({ code: 'ENOENT', syscall: 'chdir' })
  })

  test('bad arguments', () => {
    const pool = namespaces.pool as (options: unknown) => unknown
    expect(() => pool({ kinds: 'net', size: 0 })).toThrow('pool: size')
    expect(() => pool({ kinds: 'pid' })).toThrow('pool: kinds')
    expect(() => pool({ kinds: 'net', max: 1 })).toThrow('max')
    expect(() => pool({ kinds: 'net', steps: 'x' })).toThrow('pool: steps')
  })
})
