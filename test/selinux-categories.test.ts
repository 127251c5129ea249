// Pairs of categories: nobody gets what another one has, whoever and wherever he is.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { type ChildProcess, spawn as fork } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  linkSync,
  openSync,
  readdirSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createInterface } from 'node:readline'
import { inspect } from 'node:util'
import { Worker } from 'node:worker_threads'
import { type Categories, Context, type KernelError, Level, Range, selinux, spawn } from 'fancyproc'
import { setexeccon } from 'fancyproc/steps'
import { native } from '../lib/native.ts'
import { root, script } from './support/fork.ts'
import { on, scaled } from './support/machine.ts'
import { scratch } from './support/scratch.ts'

const path = scratch()
const BYTES = 1024 * 1024
const byteOf = (first: number, second: number): number => first * 1024 + second

let lockFile: string
let count = 0
const held: Categories[] = []
const children: ChildProcess[] = []

beforeEach(() => {
  lockFile = path(`lock${String(count++)}`)
})
afterEach(async () => {
  for (const one of held.splice(0)) one.release()
  for (const child of children.splice(0)) {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  }
})

async function allocate(options: Parameters<typeof selinux.allocateCategories>[0] = {}): Promise<Categories> {
  const one = await selinux.allocateCategories({ lockFile, ...options })
  held.push(one)
  return one
}

/** Another process, which allocates, tells the levels, and keeps them. */
async function allocator(
  wanted: number,
  { uid, file = lockFile }: { uid?: number; file?: string } = {},
): Promise<{
  child: ChildProcess
  levels: string[]
}> {
  const text = `
    import { selinux } from './dist/lib/index.js'
    // Loads the binary, which the other user may not be able to.
    const first = await selinux.allocateCategories({ lockFile: ${JSON.stringify(path('loading'))} })
    first.release()
    ${uid === undefined ? '' : `process.setgid(${String(uid)}); process.setuid(${String(uid)})`}
    const one = () => selinux.allocateCategories({ lockFile: ${JSON.stringify(file)} })
    const all = await Promise.all(Array.from({ length: ${String(wanted)} }, one))
    console.log(JSON.stringify(all.map(({ level }) => level)))
    setInterval(() => all, 1000)`
  const child = fork(process.execPath, script(text), { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  return { child, levels: JSON.parse(line) as string[] }
}

/** Locks all bytes but these, as others would have. */
function occupy(...free: (readonly [number, number])[]): Disposable {
  if (!existsSync(lockFile)) writeFileSync(lockFile, '')
  const fd = openSync(lockFile, 'r+')
  let start = 0
  for (const at of [...free.map((pair) => byteOf(...pair)).sort((a, b) => a - b), BYTES]) {
    if (at > start) expect(native().lock(fd, start, at - start)).toBe(0)
    start = at + 1
  }
  return {
    [Symbol.dispose]() {
      closeSync(fd)
    },
  }
}

describe('a pair', () => {
  test('is a level, and is held until it is disposed of', async () => {
    using only = occupy([5, 700])
    {
      using one = await selinux.allocateCategories({ lockFile })
      expect(one.level).toBe('s0:c5,c700')
      expect(one.categories).toEqual([5, 700])
      expect(`${String(one)} ${inspect(one)}`).toBe('s0:c5,c700 Categories(s0:c5,c700)')
      await expect(allocate()).rejects.toMatchObject({ code: 'EAGAIN' })
    }
    const again = await allocate()
    expect(again.level).toBe('s0:c5,c700')
    again.release()
    again.release()
    expect(again.released).toBe(true)
    expect(inspect(again)).toContain('released')
    expect(only).toBeDefined()
  })

  test('is of two categories in order, and of them all', async () => {
    const seen = new Set<string>()
    for (let i = 0; i < 40; i++) {
      const { categories, level } = await allocate()
      expect(categories[0]).toBeLessThan(categories[1])
      expect(Context.parse(`a:b:c:${level}`).level).toBe(level)
      seen.add(level)
    }
    expect(seen.size).toBe(40)
  })

  test('is any of them: neighbours are as rare as they should be', async () => {
    let neighbours = 0
    for (let i = 0; i < 40; i++) {
      const { categories } = await allocate()
      if (categories[1] === categories[0] + 1) neighbours++
    }
    // Of 523,776 pairs 1023 are: ten in forty come up once in 10^19 times.
    expect(neighbours).toBeLessThan(10)
  })

  test('is found though it is the last one, and then there is none', async () => {
    using _ = occupy([0, 1], [1022, 1023])
    const before = readdirSync('/proc/self/fd').length
    const two = [(await allocate()).level, (await allocate()).level]
    expect(two.sort()).toEqual(['s0:c0,c1', 's0:c1022,c1023'])
    const error = await allocate().catch((error: unknown) => error as KernelError)
    expect(error).toMatchObject({
      name: 'KernelError',
      code: 'EAGAIN',
      syscall: 'fcntl',
      path: lockFile,
      hint: expect.stringContaining('523,776 pairs') as unknown,
    })
    expect(readdirSync('/proc/self/fd').length).toBe(before + 2)
  }, 300_000)

  test('is none that was excepted', async () => {
    using _ = occupy([1, 2], [1, 3], [4, 5], [6, 7], [8, 9])
    const except = [
      's0:c1,c2',
      Context.parse('a:b:c:s0:c3'),
      Level.parse('s0:c4,c5,c9'),
      Range.parse('s0-s0:c6,c7'),
      'a:b:c:s0-s0:c0.c1023',
      'a:b:c',
      's0',
    ]
    expect((await allocate({ except })).level).toBe('s0:c8,c9')
    await expect(allocate({ except: new Set(except) })).rejects.toMatchObject({ code: 'EAGAIN' })
    expect((await allocate()).level).not.toBe('s0:c8,c9')
  }, 300_000)
})

describe('others', () => {
  test('of eight processes get no pair twice', async () => {
    const each = Math.ceil(scaled(1000) / 8)
    const all = (await Promise.all(Array.from({ length: 8 }, () => allocator(each)))).flatMap(
      ({ levels }) => levels,
    )
    expect(all.length).toBe(8 * each)
    expect(new Set(all).size).toBe(all.length)
    const own = await Promise.all(Array.from({ length: 20 }, () => allocate()))
    expect(own.filter(({ level }) => all.includes(level))).toEqual([])
  }, 300_000)

  test('of a process that is killed are free again', async () => {
    const free = [[1, 2], [1, 3], [1, 4]] as const // prettier-ignore
    using _ = occupy(...free)
    const { child, levels } = await allocator(3)
    expect(levels.sort()).toEqual(['s0:c1,c2', 's0:c1,c3', 's0:c1,c4'])
    await expect(allocate()).rejects.toMatchObject({ code: 'EAGAIN' })
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(levels).toContain((await allocate()).level)
  }, 300_000)

  test('of Workers of one process get no pair twice', async () => {
    using _ = occupy([1, 2], [1, 3], [1, 4], [1, 5])
    const text = `
      const { parentPort } = require('node:worker_threads')
      import(${JSON.stringify(`${root}/dist/lib/index.js`)}).then(async ({ selinux }) => {
        const one = await selinux.allocateCategories({ lockFile: ${JSON.stringify(lockFile)} })
        parentPort.postMessage(one.level)
        parentPort.once('message', () => { one.release(); parentPort.postMessage('released') })
      })`
    const workers = Array.from({ length: 3 }, () => new Worker(text, { eval: true }))
    const said = async (worker: Worker): Promise<unknown> => ((await once(worker, 'message')) as unknown[])[0]
    const levels = await Promise.all(workers.map(said))
    levels.push((await allocate()).level)
    expect(levels.sort()).toEqual(['s0:c1,c2', 's0:c1,c3', 's0:c1,c4', 's0:c1,c5'])
    const released = Promise.all(workers.map(said))
    for (const worker of workers) worker.postMessage('release')
    await released
    await Promise.all(workers.map((worker) => worker.terminate()))
    await Promise.all([allocate(), allocate(), allocate()])
  }, 300_000)

  on({ user: 'root' }).test(
    'of another user get no pair twice, whoever made the file',
    async () => {
      chmodSync(path(), 0o1777)
      for (const uids of [
        [undefined, 4321],
        [4321, 1234],
      ] as const) {
        lockFile = path(`lock${String(count++)}`)
        using _ = occupyAfter(await allocator(1, { ...(uids[0] === undefined ? {} : { uid: uids[0] }) }))
        const second = await allocator(1, { uid: uids[1] })
        expect(second.levels).toEqual(['s0:c8,c9'])
        expect(statSync(lockFile)).toMatchObject({ uid: uids[0] ?? 0, size: 0 })
        expect(statSync(lockFile).mode & 0o7777).toBe(0o666)
        await expect(allocate()).rejects.toMatchObject({ code: uids[0] === undefined ? 'EAGAIN' : 'EACCES' })
      }
    },
    60_000,
  )
})

/** All that the other one has left, but one. */
function occupyAfter({ levels }: { levels: string[] }): Disposable {
  const [, first, second] = /^s0:c(\d+),c(\d+)$/.exec(levels[0] ?? '') ?? []
  return occupy([Number(first), Number(second)], [8, 9])
}

describe('the file', () => {
  test('is the same for everybody, unless named', async () => {
    const one = await selinux.allocateCategories()
    held.push(one)
    const file = ['/run/lock', '/dev/shm', '/tmp']
      .map((directory) => `${directory}/fancyproc-mcs`)
      .find(existsSync)
    expect(statSync(file!).mode & 0o7777).toBe(0o666)
    expect(
      readdirSync(file!.replace(/\/[^/]*$/, '')).filter((name) => name.startsWith('fancyproc-mcs.')),
    ).toEqual([])
  })

  test('that is a symbolic link, or no file at all, is refused, and nothing becomes of where it leads', async () => {
    writeFileSync(path('victim'), '', { mode: 0o600 })
    symlinkSync(path('victim'), lockFile)
    await expect(allocate()).rejects.toMatchObject({ code: 'ELOOP', path: lockFile })
    symlinkSync(path('nothing'), path('dangling'))
    await expect(allocate({ lockFile: path('dangling') })).rejects.toMatchObject({ code: 'ELOOP' })
    expect(existsSync(path('nothing'))).toBe(false)
    await expect(allocate({ lockFile: path() })).rejects.toMatchObject({ code: 'EISDIR' })
    await expect(allocate({ lockFile: '/dev/null' })).rejects.toMatchObject({
      code: 'EINVAL',
      hint: expect.stringContaining('no regular file') as unknown,
    })
    // A second name of a file of ours: its mode is not touched.
    linkSync(path('victim'), path('second'))
    await allocate({ lockFile: path('second') })
    expect(statSync(path('victim')).mode & 0o7777).toBe(0o600)
  })

  test('that another one has replaced is not the one to lock', async () => {
    await allocate()
    renameSync(lockFile, `${lockFile}.old`)
    const second = await allocate()
    using _ = occupy(second.categories)
    await expect(allocate()).rejects.toMatchObject({ code: 'EAGAIN' })
  }, 300_000)

  on({ user: 'ordinary' }).test('that is not for this user', async () => {
    await expect(allocate({ lockFile: '/etc/fancyproc-mcs' })).rejects.toMatchObject({
      code: 'EACCES',
      path: '/etc/fancyproc-mcs',
      hint: expect.stringContaining('not for this user') as unknown,
    })
  })

  test('and what else is wrong', async () => {
    const wrong = selinux.allocateCategories as (options: unknown) => Promise<unknown>
    await expect(wrong({ lockFile: '' })).rejects.toThrow(/^allocateCategories: lockFile: is empty/)
    await expect(wrong({ except: 's0:c1,c2' })).rejects.toThrow(
      /^allocateCategories: except: expected a list/,
    )
    await expect(wrong({ except: null })).rejects.toThrow(/^allocateCategories: except: expected a list/)
    await expect(wrong({ except: ['x'] })).rejects.toThrow(/expected user:role:type:level/)
    await expect(wrong({ except: ['s0:c2000'] })).rejects.toThrow(/no category "c2000"/)
    await expect(wrong({ level: 's0' })).rejects.toThrow(/^allocateCategories: level: no such option/)
    await expect(allocate({ lockFile: path('no', 'where') })).rejects.toMatchObject({ code: 'ENOENT' })
  })
})

on({ lsm: 'selinux' }).describe('a live process', () => {
  const at = (level: string): string => `unconfined_u:unconfined_r:unconfined_t:${level}`

  test('holds its pair, though nobody has locked it', async () => {
    const label = at('s0:c5,c9')
    const sleeper = await spawn('sleep', ['1000'], { steps: [setexeccon(label)] }).spawned
    const wide = await spawn('sleep', ['1000'], { steps: [setexeccon(at('s0-s0:c20.c30'))] }).spawned
    try {
      expect(selinux.getpidcon(sleeper.pid ?? 0)).toBe(label)
      {
        using _ = occupy([5, 9], [21, 29], [700, 701])
        expect((await allocate()).level).toBe('s0:c700,c701')
        await expect(allocate()).rejects.toMatchObject({ code: 'EAGAIN' })
      }
    } finally {
      sleeper.kill('SIGKILL')
      wide.kill('SIGKILL')
      await Promise.all([sleeper.exited, wide.exited])
    }
    using _ = occupy([5, 9], held[0]?.categories ?? [0, 1])
    expect((await allocate()).level).toBe('s0:c5,c9')
  }, 300_000)
})

on({ user: 'root' }).describe("another user's file", () => {
  const theirs = (): void => {
    writeFileSync(lockFile, '')
    chmodSync(lockFile, 0o666)
    chownSync(lockFile, 65534, 65534)
  }

  test('makes way for one of root, which relies on no other', async () => {
    theirs()
    await Promise.all(Array.from({ length: 8 }, () => allocate()))
    expect(new Set(held.map(({ level }) => level)).size).toBe(8)
    expect(statSync(lockFile)).toMatchObject({ uid: 0, size: 0 })
  })

  test('does not while pairs in it are held, nor if it holds anything else', async () => {
    theirs()
    {
      using _ = occupy([1, 2])
      await expect(allocate()).rejects.toMatchObject({
        code: 'EACCES',
        path: lockFile,
        hint: expect.stringMatching(/^it is uid 65534's, .* has pairs that are held/) as unknown,
      })
    }
    writeFileSync(lockFile, 'something else')
    await expect(allocate()).rejects.toMatchObject({
      code: 'EACCES',
      hint: expect.stringContaining('is not empty') as unknown,
    })
    expect(statSync(lockFile)).toMatchObject({ uid: 65534, size: 14 })
  })
})
