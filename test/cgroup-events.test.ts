// Files of events as async iterators: what they tell, how they end, and that they leave no inotify watch behind.
import { expect, test } from '@jest/globals'
import { mkdirSync, readdirSync, readFileSync, readlinkSync, rmdirSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { type Changes, cgroups, spawn } from 'fancyproc'
import { on, patient, scaled } from './support/machine.ts'

/** inotify watches of this process. */
function watches(): number {
  const lines = readdirSync('/proc/self/fdinfo').flatMap((fd) => {
    try {
      return readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8').match(/^inotify wd:/gm) ?? []
    } catch {
      return []
    }
  })
  return lines.length
}

/** The next one, or an error when none comes. */
async function next<T>(iterator: Changes<T>): Promise<IteratorResult<T, undefined>> {
  const late = setTimeout(() => void iterator.return(), patient(5000))
  const result = await iterator.next()
  clearTimeout(late)
  return result
}

function leadsTo(fd: string, path: string): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === path
  } catch {
    return false
  }
}

const untyped = (value: unknown): never => value as never

on({ user: 'root', cgroup: 'v2-any' }).describe('cgroup.events', () => {
  test('are those of this cgroup, not of one that has its name since', async () => {
    await using cgroup = await cgroups.create('watch')
    const { path } = cgroup
    await using changes = cgroup.watch('cgroup.events')
    rmdirSync(path)
    mkdirSync(path)
    await using child = spawn('sleep', ['1000'], { cgroup: path, stdio: 'ignore' })
    await child.spawned
    try {
      expect(await next(changes)).toEqual({ done: true, value: undefined })
      await using again = cgroup.watch('cgroup.events')
      await expect(again.next()).rejects.toMatchObject({ code: 'ENOENT' })
    } finally {
      child.kill('SIGKILL')
      await child.exited
      rmdirSync(path)
    }
  })

  test('go on when the cgroup has been closed, and leave no descriptor behind', async () => {
    await using cgroup = await cgroups.create('watch')
    const opened = await cgroups.open(cgroup.path)
    const changes = opened.watch('cgroup.events')
    const first = next(changes)
    // It has subscribed.
    await new Promise(setImmediate)
    opened.close()
    await cgroup.freeze()
    expect((await first).value?.changed).toEqual(['frozen'])
    await changes.return()
    // Its own alone.
    expect(readdirSync('/proc/self/fd').filter((fd) => leadsTo(fd, cgroup.path))).toHaveLength(1)
    const closed = opened.watch('cgroup.events')
    await expect(closed.next()).rejects.toThrow('has been closed')
  })

  test('tells what has changed, from the call on', async () => {
    await using cgroup = await cgroups.create('watch')
    await using changes = cgroup.watch('cgroup.events')
    await using child = spawn('sleep', ['1000'], { cgroup, stdio: 'ignore' })
    await child.spawned
    expect((await next(changes)).value).toEqual({
      values: { populated: 1, frozen: 0 },
      previous: { populated: 0, frozen: 0 },
      changed: ['populated'],
    })
    await cgroup.freeze()
    expect((await next(changes)).value).toMatchObject({ changed: ['frozen'], values: { frozen: 1 } })
    await cgroup.kill()
    await cgroup.thaw()
    await child.exited
    const seen: string[] = []
    do seen.push(...((await next(changes)).value?.changed ?? []))
    while (!(seen.includes('frozen') && seen.includes('populated')))
  })

  test('ends when the cgroup is removed, whether it waits or not', async () => {
    const before = watches()
    const cgroup = await cgroups.create('removed')
    const [waiting, idle] = [cgroup.watch('cgroup.events'), cgroup.watch('cgroup.events')]
    const end = next(waiting)
    await delay(10)
    rmdirSync(cgroup.path)
    expect(await end).toEqual({ done: true, value: undefined })
    expect(await next(idle)).toEqual({ done: true, value: undefined })
    expect(await waiting.next()).toEqual({ done: true, value: undefined })
    expect(watches()).toBe(before)
    await cgroup.remove()
  })

  test('for await: break ends it', async () => {
    await using cgroup = await cgroups.create('break')
    const before = watches()
    const changes = cgroup.watch('cgroup.events')
    expect(watches()).toBe(before)
    await using child = spawn('sleep', ['1000'], { cgroup, stdio: 'ignore' })
    for await (const { values } of changes) {
      expect(watches()).toBe(before + 2)
      if (values.populated) break
    }
    expect(watches()).toBe(before)
    await child[Symbol.asyncDispose]()
  })

  test('return() ends a next() that waits', async () => {
    await using cgroup = await cgroups.create('return')
    const before = watches()
    const changes = cgroup.watch('cgroup.events')
    const waiting = changes.next()
    await delay(10)
    expect(await changes.return()).toEqual({ done: true, value: undefined })
    expect(await waiting).toEqual({ done: true, value: undefined })
    expect(watches()).toBe(before)
    const unused = cgroup.watch('cgroup.events')
    await unused.return()
    expect(await unused.next()).toEqual({ done: true, value: undefined })
  })

  test('an abort ends it with an AbortError, before, within and between', async () => {
    await using cgroup = await cgroups.create('abort')
    const before = watches()
    await expect(cgroup.watch('cgroup.events', { signal: AbortSignal.abort() }).next()).rejects.toMatchObject(
      { name: 'AbortError' },
    )
    const abort = new AbortController()
    const changes = cgroup.watch('cgroup.events', { signal: abort.signal })
    const waiting = changes.next()
    await delay(10)
    abort.abort()
    await expect(waiting).rejects.toMatchObject({ name: 'AbortError' })
    expect(watches()).toBe(before)

    const between = new AbortController()
    const other = cgroup.watch('cgroup.events', { signal: between.signal })
    await using child = spawn('sleep', ['1000'], { cgroup, stdio: 'ignore' })
    await next(other)
    between.abort()
    expect(watches()).toBe(before)
    await expect(other.next()).rejects.toMatchObject({ name: 'AbortError' })
    await child[Symbol.asyncDispose]()
  })

  test('no file of events, a file that is not there, wrong options', async () => {
    await using cgroup = await cgroups.create('wrong')
    for (const file of ['memory.stat', 'nothing.events', '../memory.events', 7, undefined]) {
      expect(() => cgroup.watch(untyped(file))).toThrow(/^watch: file: expected a file of events, such as/)
    }
    expect(() => cgroup.watch('cgroup.events', { signal: untyped('x') })).toThrow(
      'watch: signal: expected an AbortSignal, got "x"',
    )
    await cgroup.remove()
    await expect(cgroup.watch('cgroup.events').next()).rejects.toMatchObject({
      code: 'ENOENT',
      hint: 'this cgroup has been removed',
    })
  })

  test('many at once, removed at once: all end, no watch stays', async () => {
    const before = watches()
    const made = await Promise.all(
      Array.from({ length: scaled(50) }, (_, i) => cgroups.create(`many-${String(i)}`)),
    )
    const ends = made.map(async (cgroup) => {
      const seen: string[] = []
      for await (const { changed } of cgroup.watch('cgroup.events')) seen.push(...changed)
      return seen
    })
    const children = made.map((cgroup) => spawn('true', [], { cgroup, stdio: 'ignore' }))
    await Promise.all(children.map(({ exited }) => exited))
    await Promise.all(made.map((cgroup) => cgroup.remove()))
    await Promise.all(ends)
    expect(watches()).toBe(before)
  })
})

on({ user: 'root', cgroup: 'v2', controllers: ['pids'] }).describe('pids.events', () => {
  test('counts the forks that were refused', async () => {
    await using cgroup = await cgroups.create('pids', { 'pids.max': 1 })
    await using changes = cgroup.watch('pids.events')
    const child = spawn('sh', ['-c', 'true | true'], { cgroup, stdio: 'ignore' })
    const { value } = await next(changes)
    expect(value?.changed).toEqual(['max'])
    expect(value?.values['max']).toBeGreaterThan(value?.previous['max'] ?? 0)
    expect((await child.exited).code).not.toBe(0)
  })
})
