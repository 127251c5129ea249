// Processes in a cgroup: moved, killed, frozen, waited for.
import { expect, test } from '@jest/globals'
import { spawn as spawnNode } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, rmdirSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { cgroups } from 'fancyproc'
import { killEach } from '../lib/cgroups/kill.ts'
import { endAfter, make, membership, sleeper, thrown, useScratch } from './support/cgroups.ts'
import { on } from './support/machine.ts'

/** Passes types by. */
const untyped = (options: unknown): object => options as object

on({ user: 'root', cgroup: 'v2-any' }).describe('processes', () => {
  useScratch()

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
    const child = endAfter(
      spawnNode('sh', ['-c', 'read line; while :; do (sleep 100 & sleep 100 &) ; sleep 0.01; done'], {
        stdio: ['pipe', 'ignore', 'ignore'],
      }),
    )
    await group.add(child)
    child.stdin.write('go\n')
    while ((await group.procs()).length < 10) await delay(5)
    await killEach(group.path)
    expect(await group.events()).toMatchObject({ populated: false })
    expect(await group.procs()).toEqual([])
  })

  test('freeze and thaw', async () => {
    await using group = await make('freeze')
    const child = endAfter(
      spawnNode('sh', ['-c', 'while :; do echo; done'], { stdio: ['ignore', 'pipe', 'ignore'] }),
    )
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

on({ user: 'root', cgroup: 'v2-any' }).describe('waiting', () => {
  useScratch()

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

  test('thaw() waits for the cgroup above, and can be given up', async () => {
    await using group = await make('above')
    await using below = await cgroups.create('below', {}, { parent: group })
    await below.add(sleeper())
    await below.freeze()
    await group.freeze()
    const abort = new AbortController()
    const states: string[] = []
    const given = thrown(below.thaw({ signal: abort.signal })).finally(() => states.push('given up'))
    const kept = below.thaw().finally(() => states.push('thawed'))
    while ((await below.read('cgroup.freeze')).trim() === '1') await delay(5)
    await delay(50)
    expect(states).toEqual([])
    expect((await below.events()).frozen).toBe(true)
    abort.abort()
    expect(await given).toMatchObject({ name: 'AbortError' })
    await delay(50)
    expect(states).toEqual(['given up'])
    await group.thaw()
    await kept
    expect((await below.events()).frozen).toBe(false)
  })

  test('freeze() and thaw() that were given up before do nothing', async () => {
    await using group = await make('before')
    await group.add(sleeper())
    const signal = AbortSignal.abort()
    expect(await thrown(group.freeze({ signal }))).toMatchObject({ name: 'AbortError' })
    expect((await group.read('cgroup.freeze')).trim()).toBe('0')
    await group.freeze()
    expect(await thrown(group.thaw({ signal }))).toMatchObject({ name: 'AbortError' })
    expect((await group.read('cgroup.freeze')).trim()).toBe('1')
    await group.thaw()
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
