// namespaces(): beside lsns and /proc, and those that no process is in.
import { afterAll, describe, expect, test } from '@jest/globals'
import { fstatSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { type Namespace, type NamespaceInfo, namespaces, type Process, spawn } from 'fancyproc'
import {
  bind,
  clone,
  gidMap,
  makePrivate,
  mapUser,
  mkdir,
  mount,
  namespaces as kinds,
  open,
  sendFd,
  setgroupsDeny,
  type Steps,
  uidMap,
  unshare,
  writeFile,
} from 'fancyproc/steps'
import { command, root as checkout } from './support/fork.ts'
import { isolated, rights } from './support/isolated.ts'
import { facts, on, scaled } from './support/machine.ts'
import { namespace, status } from './support/proc.ts'
import { onRuntimes } from './support/runtimes.ts'
import { scratch } from './support/scratch.ts'
import { sh } from './support/sh.ts'
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

const inodeOf = (pid: number | 'self' | undefined, kind: string): number =>
  Number(/\d+/.exec(namespace(pid, kind))?.[0])

const row = (all: readonly NamespaceInfo[], inode: number): NamespaceInfo | undefined =>
  all.find((one) => one.inode === inode)

/** A user namespace in one where we are root, and root there. */
const root = { inside: 0, outside: 0, count: 1 }
const deeper = [unshare('user'), setgroupsDeny(), uidMap(root), gidMap(root)]

/** Its rows: what it is in. */
const rowsOf = (all: readonly NamespaceInfo[], pid: number | undefined): NamespaceInfo[] =>
  kinds.map((kind) => row(all, inodeOf(pid, kind))!)

/** lsns fails when any process of the machine ends meanwhile. */
function patiently(command: string): string {
  for (let left = 20; ; left--) {
    try {
      return sh(command)
    } catch (error) {
      if (left === 0) throw error
    }
  }
}

describe('of processes', () => {
  on(rights).test('each has the eight that /proc names, and is among their processes', async () => {
    const children = [await sleeper([]), await sleeper(['net', 'uts']), await sleeper([...kinds])]
    const all = await namespaces()
    for (const { pid } of children) {
      const rows = rowsOf(all, pid)
      expect(rows.map(({ kind }) => kind)).toEqual(kinds)
      for (const { pids } of rows) expect(pids).toContain(pid)
    }
    expect(all.map(({ inode }) => inode)).toEqual(
      [...new Set(all.map(({ inode }) => inode))].sort((a, b) => a - b),
    )
  })

  on({ userns: true, tools: 'lsns' }).test('as lsns lists them, with owners and parents', async () => {
    const steps = [mapUser(), deeper, clone(kinds.filter((kind) => kind !== 'user'))]
    const child = await spawn('sleep', ['1000'], { namespaces: ['user'], steps }).spawned
    started.push(child)
    const ours = rowsOf(await namespaces(), child.pid).map(({ inode, kind, parent = 0, owner = 0 }) =>
      [inode, kind, parent, owner].join(' '),
    )
    const task = String(child.pid)
    const theirs = patiently(`lsns --noheadings --raw --output NS,TYPE,PNS,ONS --task ${task}`).split('\n')
    expect(ours.sort()).toEqual(theirs.sort())
  })

  onRuntimes(path, async (pid) => {
    const all = await namespaces({ holders: [] })
    const rows = rowsOf(all, pid)
    expect(rows.map(({ pids }) => pids.includes(pid))).toEqual(rows.map(() => true))
    const own = rows.filter(({ pids }) => !pids.includes(process.pid)).map(({ kind }) => kind)
    expect(own).toEqual(expect.arrayContaining(['pid', 'mnt', 'uts', 'ipc', 'net']))
    const { pids, innerPids, parent } = rows.find(({ kind }) => kind === 'pid')!
    expect(innerPids![pids.indexOf(pid)]).toBe(Number(status(pid, 'NSpid').split('\t').at(-1)))
    expect(parent).toBe(inodeOf('self', 'pid'))
    const theirs = patiently(`lsns --noheadings --raw --output NS,TYPE --task ${String(pid)}`).split('\n')
    expect(rows.map(({ inode, kind }) => `${String(inode)} ${kind}`).sort()).toEqual(theirs.sort())
  })

  on(rights).test('pids, as they are known in their pid namespace', async () => {
    const child = await spawn('sh', ['-c', 'sleep 1000 & sleep 1000 & echo; wait'], isolated(['pid'])).spawned
    started.push(child)
    await new Promise((resolve) => child.stdout?.once('data', resolve))
    const { pids = [], innerPids = [], parent } = row(await namespaces(), inodeOf(child.pid, 'pid')) ?? {}
    expect(innerPids).toEqual(pids.map((pid) => Number(status(pid, 'NSpid').split('\t').at(-1))))
    expect([...innerPids].sort()).toEqual([1, 2, 3])
    expect(parent).toBe(inodeOf('self', 'pid'))
  })

  test('only of some kinds', async () => {
    const all = await namespaces({ kinds: ['uts', 'net'] })
    expect(new Set(all.map(({ kind }) => kind))).toEqual(new Set(['uts', 'net']))
    expect((await namespaces({ kinds: 'user' })).every(({ kind }) => kind === 'user')).toBe(true)
    // Its owner is told all the same.
    if (facts.user === 'root') expect(row(all, inodeOf('self', 'uts'))?.owner).toBe(inodeOf('self', 'user'))
  })

  on({ user: 'ordinary' }).test('an ordinary user sees those of his own processes', async () => {
    const all = await namespaces()
    const seen = new Set(all.flatMap(({ pids }) => pids))
    expect(seen).toContain(process.pid)
    // Those of other tests may have ended meanwhile.
    const alive = [...seen].flatMap((pid) => {
      try {
        return [Number(status(pid, 'Uid').split('\t')[0])]
      } catch {
        return []
      }
    })
    expect(new Set(alive)).toEqual(new Set([process.getuid!()]))
  })
})

describe('of no process', () => {
  on(rights).test('one that a bind mount holds: its path, in the view of a process', async () => {
    const pin = path('pins', 'a b')
    const child = await sleeper(
      ['mnt', 'uts'],
      makePrivate('/', { recursive: true }),
      mkdir(path('pins')),
      mount({ source: 'none', target: path('pins'), type: 'tmpfs' }),
      writeFile(pin, '', { flags: ['O_CREAT'] }),
      bind('/proc/self/ns/uts', pin),
      unshare('uts'),
    )
    const { ino } = statSync(`/proc/${String(child.pid)}/root${pin}`)
    const found = row(await namespaces(), ino)
    const mountNamespace = inodeOf(child.pid, 'mnt')
    expect(found).toMatchObject({ kind: 'uts', pids: [], fds: [] })
    expect(found!.mounts).toEqual([{ path: pin, pid: child.pid, mountNamespace }])
    expect(found!.owner).toBe(inodeOf(child.pid, 'user'))
  })

  on(rights).test('one that a descriptor holds', async () => {
    const file = open('/proc/self/ns/net')
    await using maker = spawn('true', isolated(['net'], file, sendFd('net', file)))
    await maker.exited
    const { fd } = maker.fds['net']!
    const { ino } = fstatSync(fd)
    expect(row(await namespaces({ kinds: 'net' }), ino)).toMatchObject({
      kind: 'net',
      pids: [],
      mounts: [],
      fds: [{ pid: process.pid, fd }],
    })
  })

  on({ userns: true }).test('one that lies between two: by the ioctl alone', async () => {
    const steps = [mapUser(), deeper, deeper]
    const child = await spawn('sleep', ['1000'], { namespaces: ['user'], steps }).spawned
    started.push(child)
    const all = await namespaces()
    const chain: NamespaceInfo[] = []
    for (let at = row(all, inodeOf(child.pid, 'user')); at; at = row(all, at.parent ?? 0)) chain.push(at)
    expect(chain.slice(0, 4).map(({ pids }) => pids.includes(child.pid!))).toEqual([
      true,
      false,
      false,
      false,
    ])
    expect(chain[1]).toMatchObject({ kind: 'user', pids: [], fds: [], mounts: [] })
    expect(chain[3]!.inode).toBe(inodeOf('self', 'user'))
    for (const { uid } of chain.slice(0, 3)) expect(typeof uid).toBe('number')
    expect(chain[2]!.uid).toBe(process.getuid!())
  })

  on({ user: 'root' }).test('one that a single thread of a process is in', async () => {
    const text = `
      import { unshare } from 'fancyproc/thread'
      import { parentPort } from 'node:worker_threads'
      import { readlinkSync } from 'node:fs'
      unshare('uts')
      parentPort.postMessage(readlinkSync('/proc/thread-self/ns/uts'))
      parentPort.once('message', () => parentPort.close())`
    const url = new URL(
      `data:text/javascript,${encodeURIComponent(text.replaceAll("'fancyproc/thread'", JSON.stringify(new URL(`file://${checkout}/dist/lib/thread.js`).href)))}`,
    )
    const worker = new Worker(url)
    const inode = Number(/\d+/.exec(await new Promise((resolve) => worker.once('message', resolve)))?.[0])
    const found = row(await namespaces({ holders: ['threads'] }), inode)
    expect(found).toMatchObject({ kind: 'uts', pids: [] })
    expect(found!.threads).toHaveLength(1)
    worker.postMessage('')
    await new Promise((resolve) => worker.once('exit', resolve))
  })

  // Held by a descriptor; nobody looks at those here.
  const heldOnlyByFd = async (kind: Namespace): Promise<void> => {
    const file = open(`/proc/self/ns/${kind}`)
    await using maker = spawn('true', isolated([kind], file, sendFd('it', file)))
    await maker.exited
    const { ino } = fstatSync(maker.fds['it']!.fd)
    expect(row(await namespaces({ holders: [] }), ino)).toMatchObject({ kind, pids: [], mounts: [], fds: [] })
  }
  on({ user: 'root', kernel: '6.12' }).test('a mount namespace, by what the kernel tells root', async () => {
    await heldOnlyByFd('mnt')
  })
  on({ user: 'root', kernel: '6.19' }).test('any, by listns', async () => {
    for (const kind of kinds) if (kind !== 'pid' && kind !== 'time') await heldOnlyByFd(kind)
  })
})

describe('while processes come and go', () => {
  on(rights).test('there is no exception, and no row of one that is gone', async () => {
    let going = true
    const storm = async (): Promise<void> => {
      while (going)
        await spawn('true', { ...isolated(['uts']), stdio: 'ignore' } as never).exited.catch(() => undefined)
    }
    const storms = [storm(), storm()]
    const child = await sleeper(['uts'])
    for (let i = 0; i < scaled(50); i++) {
      const all = await namespaces({ holders: ['threads', 'mounts', 'fds'] })
      expect(row(all, inodeOf(child.pid, 'uts'))?.pids).toEqual([child.pid])
      for (const { inode, kind } of all) {
        expect(inode).toBeGreaterThan(0)
        expect(kinds).toContain(kind)
      }
    }
    going = false
    await Promise.all(storms)
  })
})

on(rights).test("examples/lsns.ts prints lsns's columns, and what holds one without a process", async () => {
  const child = await sleeper(['uts'])
  const file = open('/proc/self/ns/net')
  await using maker = spawn('true', isolated(['net'], file, sendFd('net', file)))
  await maker.exited
  const { fd } = maker.fds['net']!
  const { stdout, stderr } = await command(process.execPath, [join(checkout, 'dist/examples/lsns.js')])
  expect(stderr).toBe('')
  const lines = stdout.split('\n')
  expect(lines[0]).toMatch(/^ +NS TYPE +NPROCS +PID USER +COMMAND$/)
  const line = (inode: number): string | undefined =>
    lines.find((one) => one.trim().startsWith(String(inode)))
  expect(line(inodeOf(child.pid, 'uts'))).toMatch(new RegExp(` uts +1 +${String(child.pid)} .* sleep 1000$`))
  expect(line(fstatSync(fd).ino)).toMatch(
    new RegExp(` net +0 +\\(fd ${String(fd)} of ${String(process.pid)}\\)$`),
  )
})

test('no descriptor and no thread stays behind', async () => {
  await namespaces()
  const before = leaks()
  await Promise.all(Array.from({ length: 10 }, () => namespaces({ holders: ['threads', 'mounts', 'fds'] })))
  expect(await settled(before)).toEqual(before)
})

test('what is no option', async () => {
  const wrong = namespaces as (options: unknown) => Promise<unknown>
  await expect(wrong(null)).rejects.toThrow('namespaces: options')
  await expect(wrong({ kind: 'net' })).rejects.toThrow('namespaces: options.kind')
  await expect(wrong({ kinds: ['pdi'] })).rejects.toThrow('namespaces: kinds[0]')
  await expect(wrong({ holders: 'fds' })).rejects.toThrow('namespaces: holders')
  await expect(wrong({ holders: ['files'] })).rejects.toThrow('namespaces: holders[0]')
})
