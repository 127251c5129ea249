import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { type ChildProcess, execFileSync, spawn as spawnNode } from 'node:child_process'
import { once } from 'node:events'
import {
  chownSync,
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { access, constants } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { assertSpawnable, type Cgroup, cgroups, cloneHint, openForSpawn } from '../lib/cgroups.ts'
import { killEach } from '../lib/cgroups/kill.ts'
import { errnoNumber } from '../lib/errors.ts'
import { run } from '../lib/run.ts'
import { spawn } from '../lib/spawn.ts'
import { facts, on } from './support/machine.ts'

const root = facts.cgroupRoot ?? ''
/** All that these tests make is below it. */
const scratch = join(root, `fancyproc-test-${String(process.pid)}`)
const started: ChildProcess[] = []

function sleeper(): ChildProcess & { pid: number } {
  const child = spawnNode('sleep', ['1000'], { stdio: 'ignore' })
  started.push(child)
  if (child.pid === undefined) throw new Error('sleep did not start')
  return child as ChildProcess & { pid: number }
}

async function thrown(action: Promise<unknown>): Promise<Error & Record<string, unknown>> {
  try {
    await action
  } catch (error) {
    return error as Error & Record<string, unknown>
  }
  throw new Error('nothing was thrown')
}

function thrownBy(action: () => unknown): Error & Record<string, unknown> {
  try {
    action()
  } catch (error) {
    return error as Error & Record<string, unknown>
  }
  throw new Error('nothing was thrown')
}

function directories(path: string): string[] {
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
}

/** The directory of a process in the v2 hierarchy, by the kernel; the mount's root is taken for the hierarchy's. */
function membership(pid: number): string {
  return join(
    root,
    /^0::(.*)$/m.exec(readFileSync(`/proc/${String(pid)}/cgroup`, 'utf8'))?.[1] ?? '',
  ).replace(/\/$/, '')
}

const namespace =
  /\[(\d+)\]/.exec(
    existsSync('/proc/self/ns/pid') ? execFileSync('readlink', ['/proc/self/ns/pid']).toString() : '',
  )?.[1] ?? ''

/** Whether this user may write to a cgroup on the way up. */
async function delegated(path: string): Promise<boolean> {
  for (let at = path; at.startsWith(root); at = dirname(at)) {
    const writable = await access(at, constants.W_OK).then(
      () => true,
      () => false,
    )
    if (writable) return true
  }
  return false
}

afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL')
})

/** Passes types by. */
const untyped = (options: unknown): object => options as object

describe('bad input, before anything has happened', () => {
  const create = cgroups.create as (...args: unknown[]) => Promise<Cgroup>

  test.each([[''], ['.'], ['..'], ['a/b'], ['a\0b'], ['a\nb'], [7], [undefined]])(
    'the name %j',
    async (name) => {
      await expect(create(name)).rejects.toMatchObject({ name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' })
    },
  )

  test.each([['pids'], ['../pids.max'], ['pids.max/x'], ['pids.'], ['']])('the file %j', async (file) => {
    await expect(create('x', { [file]: 1 })).rejects.toThrow(/^files: expected a file's name/)
  })

  test.each([[1.5], [NaN], [true], [null], [{}], ['1\0']])('the value %j', async (value) => {
    const message = (file: string): RegExp => new RegExp(`^files\\['${file}'\\]: expected `)
    await expect(create('x', { 'pids.max': value })).rejects.toThrow(message('pids.max'))
    await expect(create('x', { 'unknown.file': value })).rejects.toThrow(message('unknown.file'))
  })

  test('unknown options, wrong options, a name of an owned one', async () => {
    await expect(create('x', {}, { parnt: '/' })).rejects.toThrow(/^options\.parnt: no such option/)
    await expect(create('x', {}, { detached: 1 })).rejects.toThrow(/^options\.detached: expected a boolean/)
    await expect(create('x', {}, { parent: 'relative' })).rejects.toThrow(
      /^parent: expected the absolute path/,
    )
    await expect(create('fancyproc.1.2.3.x', {}, { detached: true })).rejects.toThrow(
      /^name: a sweep would take it/,
    )
    await expect(create('x'.repeat(256), {}, { detached: true })).rejects.toThrow(/^name: longer/)
  })

  test.each<[unknown, string]>([
    [{ kil: true }, 'kil: no such option; known are parent, kill'],
    [{ kill: 1 }, 'kill: expected a boolean, got 1'],
    [null, 'options: expected an object, got null'],
    [{ parent: 'relative' }, 'parent: expected the absolute path'],
  ])('sweep: %j', async (options, problem) => {
    const error = await thrown(cgroups.sweep(untyped(options)))
    expect(error).toBeInstanceOf(TypeError)
    expect(error.message.startsWith(`sweep: ${problem}`)).toBe(true)
  })

  test('open: a path that is none, is not there, is no cgroup', async () => {
    await expect(cgroups.open('relative')).rejects.toThrow(/^path: expected the absolute path/)
    await expect(cgroups.open('/nowhere')).rejects.toMatchObject({
      code: 'ENOENT',
      hint: 'there is no such cgroup',
    })
    await expect(cgroups.open('/proc')).rejects.toMatchObject({ code: 'EBADF', path: '/proc' })
  })
})

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

on({ user: 'ordinary', cgroup: 'v2-any' }).describe('an ordinary user', () => {
  test('is told that a subtree must be delegated', async () => {
    const own = await cgroups.pathOf()
    const before = directories(own)
    if (await delegated(own)) {
      await using group = await cgroups.create('demo')
      expect(existsSync(group.path)).toBe(true)
      return
    }
    const error = await thrown(cgroups.create('demo'))
    expect(error).toMatchObject({ name: 'KernelError', code: 'EACCES', syscall: 'mkdir' })
    expect(error['hint']).toMatch(/delegated subtree.*systemd-run --user --scope -p Delegate=yes/)
    expect(directories(own)).toEqual(before)
    expect(await thrown(cgroups.create('demo', {}, { parent: root }))).toMatchObject({ code: 'EACCES' })
    expect((await cgroups.sweep()).removed).toEqual([])
  })

  on({ cgroup: 'hybrid' }).test('hears of a lacking controller first', async () => {
    await expect(cgroups.create('demo', { 'pids.max': 1 })).rejects.toMatchObject({ code: 'ENOENT' })
  })
})

on({ user: 'root', cgroup: 'v2-any' }).describe('a cgroup', () => {
  beforeAll(() => {
    mkdirSync(scratch)
  })

  afterAll(async () => {
    const leftovers = directories(scratch)
    await (await cgroups.open(scratch)).remove({ kill: true })
    expect(leftovers).toEqual([])
  })

  const make = (name: string, files = {}, options = {}): Promise<Cgroup> =>
    cgroups.create(name, files, { parent: scratch, ...options })

  describe('create', () => {
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

  describe('files', () => {
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

    on({ cgroup: 'hybrid' }).test('no OOM kills where memory is of v1', async () => {
      await using group = await make('oom')
      expect(await group.oomKills()).toBeUndefined()
    })
  })

  describe('controllers', () => {
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
        await above.add(sleeper())
        for (const action of [above.enable([controller]), below.enable([controller])]) {
          const error = await thrown(action)
          expect(error).toMatchObject({ code: 'EBUSY', path: join(above.path, 'cgroup.subtree_control') })
          expect(error['hint']).toMatch(/has processes of its own.*no internal processes/)
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
        expect(error['hint']).toMatch(/enabled for its children/)
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

  describe('processes', () => {
    test('are moved in, and seen by the kernel there', async () => {
      await using group = await make('add')
      const child = sleeper()
      await group.add(child)
      expect(await group.procs()).toEqual([child.pid])
      expect(membership(child.pid)).toBe(group.path)
      expect(await group.events()).toEqual({ populated: true, frozen: false })
    })

    test('that are not there', async () => {
      await using group = await make('add')
      await expect(group.add(2 ** 22 - 1)).rejects.toMatchObject({ code: 'ESRCH' })
      for (const bad of [0, -1, 1.5, {}, { pid: undefined }, NaN]) {
        await expect(group.add(bad)).rejects.toThrow(/^process: expected a pid/)
      }
    })

    test('are killed with all below', async () => {
      await using group = await make('kill')
      await using below = await cgroups.create('below', {}, { parent: group })
      const [one, two] = [sleeper(), sleeper()]
      await group.add(one)
      await below.add(two)
      const ends = Promise.all([once(one, 'exit'), once(two, 'exit')])
      await group.kill()
      expect(await ends).toEqual([
        [null, 'SIGKILL'],
        [null, 'SIGKILL'],
      ])
      await group.empty()
      expect((await group.events()).populated).toBe(false)
    })

    test('are killed as kernels before 5.14 need it, however fast they fork', async () => {
      await using group = await make('each')
      const child = spawnNode(
        'sh',
        ['-c', 'read line; while :; do (sleep 100 & sleep 100 &) ; sleep 0.01; done'],
        {
          stdio: ['pipe', 'ignore', 'ignore'],
        },
      )
      started.push(child)
      await group.add(child)
      child.stdin.write('go\n')
      while ((await group.procs()).length < 10) await delay(5)
      await killEach(group.path)
      expect(await group.events()).toMatchObject({ populated: false })
      expect(await group.procs()).toEqual([])
    })

    test('freeze and thaw', async () => {
      await using group = await make('freeze')
      const child = spawnNode('sh', ['-c', 'while :; do echo; done'], { stdio: ['ignore', 'pipe', 'ignore'] })
      started.push(child)
      await group.add(child)
      await group.freeze()
      expect(await group.events()).toEqual({ populated: true, frozen: true })
      const ticks = (): string =>
        readFileSync(`/proc/${String(child.pid)}/stat`, 'utf8')
          .split(' ')
          .slice(13, 15)
          .join(' ')
      const before = ticks()
      await delay(50)
      expect(ticks()).toBe(before)
      await group.thaw()
      expect(await group.events()).toEqual({ populated: true, frozen: false })
    })

    test('a frozen one can be disposed of', async () => {
      const group = await make('frozen')
      const child = sleeper()
      const end = once(child, 'exit')
      await group.add(child)
      await group.freeze()
      await group[Symbol.asyncDispose]()
      expect(await end).toEqual([null, 'SIGKILL'])
      expect(existsSync(group.path)).toBe(false)
    })
  })

  describe('waiting', () => {
    test('empty() and remove() wait for the last one', async () => {
      const group = await make('wait')
      const child = sleeper()
      await group.add(child)
      let done = 0
      const waits = [group.empty().then(() => done++), group.remove().then(() => done++)]
      await delay(50)
      expect(done).toBe(0)
      child.kill('SIGKILL')
      await Promise.all(waits)
      expect(existsSync(group.path)).toBe(false)
    })

    test('can be given up', async () => {
      await using group = await make('abort')
      await group.add(sleeper())
      const abort = new AbortController()
      const wait = thrown(group.empty({ signal: abort.signal }))
      setTimeout(() => {
        abort.abort()
      }, 20)
      expect(await wait).toMatchObject({ name: 'AbortError' })
      expect(await thrown(group.remove({ signal: AbortSignal.abort() }))).toMatchObject({
        name: 'AbortError',
      })
      expect(existsSync(group.path)).toBe(true)
    })

    // Within 10 ms of another change the kernel tells the next one later, and not at all when the cgroup goes first.
    test('ends when another removes the cgroup at once', async () => {
      const group = await make('lost')
      const child = sleeper()
      const wait = group.empty()
      await group.add(child)
      const second = group.empty()
      await delay(3)
      child.kill('SIGKILL')
      for (;;) {
        try {
          rmdirSync(group.path)
          break
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error
        }
      }
      await Promise.all([wait, second])
      group.close()
    })

    test('checks its options, before anything has happened', async () => {
      await using group = await make('options')
      for (const [name, known] of [
        ['empty', 'signal'],
        ['freeze', 'signal'],
        ['thaw', 'signal'],
        ['remove', 'kill, signal'],
      ] as const) {
        for (const [options, problem] of [
          [{ kil: true }, `kil: no such option; known are ${known}`],
          [{ signal: 'SIGTERM' }, 'signal: expected an AbortSignal, got "SIGTERM"'],
          [7, 'options: expected an object, got 7'],
        ] as const) {
          const error = await thrown(group[name](untyped(options)))
          expect(error).toBeInstanceOf(TypeError)
          expect(error.message).toBe(`${name}: ${problem}`)
        }
      }
      expect((await thrown(group.remove(untyped({ kill: 'yes' })))).message).toBe(
        'remove: kill: expected a boolean, got "yes"',
      )
      expect(existsSync(group.path)).toBe(true)
      expect((await group.read('cgroup.freeze')).trim()).toBe('0')
    })

    test('dispose twice, at once and after', async () => {
      const group = await make('dispose')
      await group.add(sleeper())
      await Promise.all([group[Symbol.asyncDispose](), group[Symbol.asyncDispose]()])
      await group[Symbol.asyncDispose]()
      expect(existsSync(group.path)).toBe(false)
    })
  })

  describe('sweep', () => {
    const orphan = (name: string): string => {
      const path = join(scratch, name)
      mkdirSync(path)
      return path
    }

    test('takes those of dead owners only', async () => {
      await using own = await make('mine')
      const child = sleeper()
      const end = once(child, 'exit')
      child.kill('SIGKILL')
      await end
      const dead = orphan(`fancyproc.${namespace}.${String(child.pid)}.1.dead`)
      mkdirSync(join(dead, 'below'))
      const reused = orphan(`fancyproc.${namespace}.${String(process.pid)}.1.reused`)
      const foreign = orphan(`fancyproc.1.${String(child.pid)}.1.foreign`)
      const plain = orphan('fancyproc.plain')
      const { removed, kept } = await cgroups.sweep({ parent: scratch })
      expect(removed.sort()).toEqual([dead, reused].sort())
      expect(kept).toEqual(
        expect.arrayContaining([
          { path: own.path, reason: `its owner ${String(process.pid)} lives` },
          { path: foreign, reason: 'its owner belongs to another pid namespace' },
        ]),
      )
      expect(directories(scratch).sort()).toEqual([own.name, basename(foreign), basename(plain)].sort())
      rmdirSync(foreign)
      rmdirSync(plain)
    })

    test('kills only if told so', async () => {
      const path = orphan(`fancyproc.${namespace}.${String(process.pid)}.1.busy`)
      const child = sleeper()
      const end = once(child, 'exit')
      writeFileSync(join(path, 'cgroup.procs'), String(child.pid))
      expect((await cgroups.sweep({ parent: scratch })).kept).toEqual([
        { path, reason: 'it still has processes' },
      ])
      expect((await cgroups.sweep({ parent: scratch, kill: true })).removed).toEqual([path])
      expect(await end).toEqual([null, 'SIGKILL'])
    })

    test('looks by default where create() puts them', async () => {
      const path = join(await cgroups.pathOf(), `fancyproc.${namespace}.${String(process.pid)}.1.default`)
      mkdirSync(path)
      expect((await cgroups.sweep()).removed).toContain(path)
    })

    test('what a killed Node process left', async () => {
      const script = `import { cgroups } from 'fancyproc'
        const group = await cgroups.create('victim', {}, { parent: ${JSON.stringify(scratch)} })
        console.log(group.path)
        setInterval(() => undefined, 1000)`
      const child = spawnNode(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      started.push(child)
      const [line] = (await once(child.stdout, 'data')) as [Buffer]
      const path = line.toString().trim()
      expect((await cgroups.sweep({ parent: scratch })).removed).toEqual([])
      const end = once(child, 'exit')
      child.kill('SIGKILL')
      await end
      expect((await cgroups.sweep({ parent: scratch })).removed).toEqual([path])
    })
  })

  describe('spawn', () => {
    test('is born in it', async () => {
      await using group = await make('born')
      const { stdout } = await run('cat', ['/proc/self/cgroup'], { cgroup: group })
      expect(join(root, /^0::(.*)$/m.exec(stdout)?.[1] ?? '')).toBe(group.path)
    })

    test('dispose of the cgroup first ends the process', async () => {
      const group = await make('order')
      await using child = spawn('sleep', ['1000'], { cgroup: group.path, stdio: 'ignore' })
      await once(child, 'spawn')
      await group[Symbol.asyncDispose]()
      expect(await child.exited).toMatchObject({ code: null, signal: 'SIGKILL' })
    })

    test('not into one that is gone', async () => {
      const group = await make('gone')
      rmdirSync(group.path)
      expect(
        thrownBy(() => {
          assertSpawnable(group)
        }),
      ).toMatchObject({ code: 'ENOENT', hint: 'this cgroup has been removed' })
      expect(thrownBy(() => openForSpawn(group.path))).toMatchObject({ code: 'ENOENT' })
      await group.remove()
      expect(thrownBy(() => openForSpawn(group, 'cgroup')).message).toBe('cgroup: this fd is closed')
    })

    test('not into a frozen one, nor below it', async () => {
      await using group = await make('frozen')
      await using below = await cgroups.create('below', {}, { parent: group })
      await group.freeze()
      for (const one of [group, below]) {
        const error = thrownBy(() => {
          assertSpawnable(one)
        })
        expect(error).toMatchObject({ code: 'EAGAIN', path: one.path })
        expect(error['hint']).toMatch(/frozen.*thaw\(\) it first/)
      }
      await group.thaw()
      assertSpawnable(group)
      assertSpawnable(below)
    })

    test('not into a threaded one', async () => {
      await using group = await make('domain')
      await using threaded = await cgroups.create(
        'threaded',
        { 'cgroup.type': 'threaded' },
        { parent: group },
      )
      await using invalid = await cgroups.create('invalid', {}, { parent: group })
      assertSpawnable(group)
      const [below, beside] = [threaded, invalid].map((one) => {
        const error = thrownBy(() => {
          assertSpawnable(one)
        })
        expect(error).toMatchObject({ code: 'EOPNOTSUPP', syscall: 'clone3', path: one.path })
        return error['hint'] as string
      })
      expect(below).toMatch(/^it is threaded/)
      expect(beside).toMatch(/'domain invalid'/)
      const error = await thrown(invalid.add(sleeper()))
      expect(error).toMatchObject({
        code: 'EOPNOTSUPP',
        syscall: 'write',
        hint: beside?.replace("the cgroup's", 'its'),
      })
    })

    test('a threaded one lists and kills by the domain above', async () => {
      await using group = await make('domain')
      await using threaded = await cgroups.create(
        'threaded',
        { 'cgroup.type': 'threaded' },
        { parent: group },
      )
      const child = sleeper()
      const end = once(child, 'exit')
      await threaded.add(child)
      expect((await thrown(threaded.procs()))['hint']).toMatch(/cgroup\.threads/)
      if (existsSync(join(group.path, 'cgroup.kill'))) {
        expect(await thrown(threaded.kill())).toMatchObject({
          code: 'EOPNOTSUPP',
          hint: 'it is threaded: kill the domain above it',
        })
      }
      expect(await group.procs()).toEqual([child.pid])
      await group.kill()
      expect(await end).toEqual([null, 'SIGKILL'])
    })

    test('not into another filesystem, nor a closed fd', () => {
      const fd = openSync('/proc', 'r')
      expect(
        thrownBy(() => {
          assertSpawnable(fd)
        }),
      ).toMatchObject({ code: 'EBADF', path: '/proc' })
      closeSync(fd)
      expect(
        thrownBy(() => {
          assertSpawnable(fd)
        }),
      ).toMatchObject({ code: 'ENOENT' })
      for (const bad of ['relative', '', '/a\0b', null, {}, true]) {
        expect(thrownBy(() => openForSpawn(bad)).message).toMatch(
          /^cgroup: expected a cgroup, an fd or an absolute path/,
        )
      }
    })

    on({ cgroup: 'hybrid' }).test('not into v1', () => {
      const v1 =
        readdirSync(dirname(root)).find((name) => existsSync(join(dirname(root), name, 'tasks'))) ?? ''
      const target = openForSpawn(join(dirname(root), v1))
      const error = thrownBy(() => {
        assertSpawnable(target)
      })
      target.close()
      expect(error).toMatchObject({ code: 'EBADF' })
      expect(error['hint']).toMatch(/v1/)
    })

    test('the root, by its path', () => {
      const target = openForSpawn(root)
      assertSpawnable(target)
      target.close()
      expect(existsSync(`/proc/self/fd/${String(target.fd)}`)).toBe(false)
    })

    on({ controllers: 'pids' }).test('says that it is full', async () => {
      await using group = await make('full', { 'pids.max': 1 })
      await group.add(sleeper())
      assertSpawnable(group)
      expect(cloneHint(errnoNumber('EAGAIN') ?? 0, group)).toBe(
        'the cgroup is full: pids.current is 1, pids.max 1',
      )
      await expect(spawn('true', [], { cgroup: group }).exited).rejects.toMatchObject({ code: 'EAGAIN' })
    })

    on({ controllers: 'memory' }).test(
      'counts what the OOM killer took',
      async () => {
        await using group = await make('hog', { 'memory.max': 32 << 20 })
        if (existsSync(join(group.path, 'memory.swap.max'))) await group.write('memory.swap.max', 0)
        const child = spawn('tail', ['/dev/zero'], { cgroup: group, stdio: 'ignore' })
        expect(await child.exited).toMatchObject({ signal: 'SIGKILL' })
        expect(await group.oomKills()).toBeGreaterThan(0)
      },
      120_000,
    )
  })

  describe('delegation', () => {
    on({ tools: 'setpriv' }).test('an ordinary user in a subtree of his own', () => {
      const uid = 65534
      const copy = mkdtempSync(join(tmpdir(), 'fancyproc-'))
      const subtree = join(scratch, 'delegated')
      const leaf = join(subtree, 'leaf')
      try {
        // He may not be allowed to read where this file is.
        cpSync('dist/lib', join(copy, 'lib'), { recursive: true })
        cpSync('build/Release/fancyproc.node', join(copy, 'fancyproc.node'))
        writeFileSync(join(copy, 'package.json'), '{"type":"module"}')
        chownSync(copy, uid, uid)
        for (const directory of [subtree, leaf]) {
          mkdirSync(directory)
          for (const file of ['', 'cgroup.procs', 'cgroup.subtree_control'])
            chownSync(join(directory, file), uid, uid)
        }
        const script = `import { cgroups } from '${copy}/lib/cgroups.js'
          const group = await cgroups.create('his')
          console.log(group.path)
          const error = await cgroups.create('his', {}, { parent: '${scratch}' }).catch((error) => error)
          console.log(error.code)`.concat('\nawait group.remove()')
        const run = `echo $$ > ${leaf}/cgroup.procs && exec setpriv --reuid ${String(uid)} --regid ${String(uid)} --clear-groups "$@"`
        const args = ['-c', run, 'sh', process.execPath, '--input-type=module', '-e', script]
        const env = { PATH: process.env['PATH'], FANCYPROC_BINARY: join(copy, 'fancyproc.node') }
        const output = execFileSync('sh', args, { cwd: '/', encoding: 'utf8', env }).trim().split('\n')
        expect(output[0]?.startsWith(`${leaf}/fancyproc.`)).toBe(true)
        expect(output[1]).toBe('EACCES')
        expect(directories(leaf)).toEqual([])
      } finally {
        rmSync(copy, { recursive: true })
        for (const directory of [leaf, subtree]) if (existsSync(directory)) rmdirSync(directory)
      }
    })
  })
})
