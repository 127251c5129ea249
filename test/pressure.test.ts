// PSI triggers: they fire under pressure, end with their cgroup, and leave no descriptor behind.
import { afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { mkdirSync, readFileSync, rmdirSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { type Cgroup, cgroups, pressure, type Process, spawn } from 'fancyproc'
import { command, script } from './support/fork.ts'
import { facts, on, patient } from './support/machine.ts'
import { leaks, settled } from './support/state.ts'

const CAP_SYS_RESOURCE = 24n
const capabilities = BigInt(
  `0x${/^CapEff:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`,
)
const privileged = ((capabilities >> CAP_SYS_RESOURCE) & 1n) === 1n
const SECOND = 1_000_000

const busy: Process[] = []

/** More programs that want to run than there are processors, for a few seconds. */
function load(cgroup: Cgroup, programs = 4): void {
  for (let i = 0; i < programs; i++) {
    busy.push(
      spawn('sh', ['-c', 'while :; do :; done'], { cgroup, stdio: 'ignore', timeout: patient(10_000) }),
    )
  }
}

afterEach(async () => {
  await Promise.all(busy.splice(0).map((child) => child[Symbol.asyncDispose]()))
})

beforeAll(async () => {
  // The addon's threads, and libuv's: they are no leak.
  await spawn('true', [], { stdio: 'ignore' }).exited
  await Promise.all(Array.from({ length: 8 }, () => cgroups.mount().catch(() => undefined)))
})

describe('bad input, before anything has happened', () => {
  const watch: (...args: never) => unknown = pressure.watch

  test.each<[unknown[], string]>([
    [
      ['gpu', 'some', 1, SECOND],
      "watchPressure: resource: expected 'cpu', 'memory', 'io', 'irq', got \"gpu\"",
    ],
    [['cpu', 'most', 1, SECOND], "watchPressure: level: expected 'some', 'full', got \"most\""],
    [
      ['cpu', 'some', 1, 499_999],
      'watchPressure: window: expected an integer from 500000 to 10000000, got 499999',
    ],
    [['cpu', 'some', 0, SECOND], 'watchPressure: stall: expected an integer from 1 to 1000000, got 0'],
    [
      ['cpu', 'some', SECOND + 1, SECOND],
      'watchPressure: stall: expected an integer from 1 to 1000000, got 1000001',
    ],
    [['cpu', 'some', '1', SECOND], 'watchPressure: stall: expected a number, got "1"'],
    [['cpu', 'some', 1, SECOND, { sginal: 1 }], 'watchPressure: sginal: no such option; known are signal'],
  ])('%j', (args, message) => {
    expect(() => watch(...(args as never))).toThrow(message)
  })

  test('read', async () => {
    await expect(pressure.read('/etc/passwd' as 'cpu')).rejects.toThrow(
      /^pressure\.read: resource: expected 'cpu'/,
    )
  })
})

on({ psi: true }).describe('of the machine', () => {
  test('read', async () => {
    const { some } = await pressure.read('memory')
    expect(Object.keys(some ?? {})).toEqual(['avg10', 'avg60', 'avg300', 'total'])
    expect(some?.total).toBeGreaterThanOrEqual(0)
  })

  test('a trigger waits, and can be given up', async () => {
    if (!privileged && !/^([7-9]|6\.([5-9]|\d\d))/.test(facts.kernel)) {
      await expect(pressure.watch('memory', 'some', 1, 2 * SECOND).next()).rejects.toMatchObject({
        code: 'EACCES',
        hint: expect.stringMatching(/CAP_SYS_RESOURCE/) as unknown,
      })
      return
    }
    const before = leaks()
    const trigger = pressure.watch('memory', 'full', 10 * SECOND, 10 * SECOND)
    const waiting = trigger.next()
    while (isDeepStrictEqual(leaks().fds, before.fds)) await delay(5)
    await trigger.return()
    expect(await waiting).toEqual({ done: true, value: undefined })
    expect((await settled(before)).fds).toEqual(before.fds)
  })
})

on({ psi: true, user: 'root', cgroup: 'v2-any' }).test(
  'a trigger of the machine fires under load',
  async () => {
    await using cgroup = await cgroups.create('psi-machine')
    const before = leaks()
    const trigger = pressure.watch('cpu', 'some', 100_000, 2 * SECOND)
    const total = async (): Promise<number> => (await pressure.read('cpu')).some?.total ?? 0
    const start = await total()
    const first = trigger.next()
    load(cgroup, 6)
    const { value } = await first
    expect(value?.some?.total).toBeGreaterThanOrEqual(start)
    // What is read is summed up every 2 s, and may come after the trigger.
    while ((await total()) - start < 100_000) await delay(20)
    await trigger.return()
    await Promise.all(busy.splice(0).map((child) => child[Symbol.asyncDispose]()))
    expect(await settled(before)).toEqual(before)
  },
)

on({ psi: true, kernel: '6.5' }).test('a window that is no multiple of 2 s takes a capability', async () => {
  const trigger = pressure.watch('memory', 'full', SECOND, SECOND)
  if (privileged) {
    const waiting = trigger.next()
    await delay(20)
    await trigger.return()
    expect((await waiting).done).toBe(true)
    return
  }
  await expect(trigger.next()).rejects.toMatchObject({
    code: 'EINVAL',
    syscall: 'write',
    path: '/proc/pressure/memory',
    hint: expect.stringMatching(/^without CAP_SYS_RESOURCE the window must be a multiple of 2 s/) as unknown,
  })
})

on({ psi: true, user: 'root', cgroup: 'v2-any' }).describe('of a cgroup', () => {
  test('fires under load, again and again', async () => {
    await using cgroup = await cgroups.create('psi')
    const before = leaks()
    load(cgroup)
    let fired = 0
    for await (const { some } of cgroup.watchPressure('cpu', 'some', 100_000, 2 * SECOND)) {
      expect(some?.total).toBeGreaterThan(0)
      if (++fired === 2) break
    }
    await Promise.all(busy.splice(0).map((child) => child[Symbol.asyncDispose]()))
    expect(await settled(before)).toEqual(before)
  })

  test('is of this cgroup, not of one that has its name since', async () => {
    await using cgroup = await cgroups.create('psi')
    rmdirSync(cgroup.path)
    mkdirSync(cgroup.path)
    await using changes = cgroup.watchPressure('cpu', 'some', 150_000, 2_000_000)
    await expect(changes.next()).rejects.toMatchObject({ code: 'ENOENT' })
    rmdirSync(cgroup.path)
  })

  test('ends when the cgroup is removed', async () => {
    const cgroup = await cgroups.create('psi-removed')
    const before = leaks()
    const trigger = cgroup.watchPressure('memory', 'some', 2 * SECOND, 2 * SECOND)
    const waiting = trigger.next()
    await delay(20)
    await cgroup.remove()
    expect(await waiting).toEqual({ done: true, value: undefined })
    expect(await trigger.next()).toEqual({ done: true, value: undefined })
    expect(Object.keys((await settled(before)).fds).length).toBeLessThanOrEqual(
      Object.keys(before.fds).length,
    )
    await expect(cgroup.watchPressure('memory', 'some', 1, 2 * SECOND).next()).rejects.toMatchObject({
      code: 'ENOENT',
      hint: 'this cgroup has been removed',
    })
  })

  test('ends when the signal aborts', async () => {
    await using cgroup = await cgroups.create('psi-abort')
    const before = leaks()
    const abort = new AbortController()
    const waiting = cgroup
      .watchPressure('io', 'full', 2 * SECOND, 2 * SECOND, { signal: abort.signal })
      .next()
    abort.abort()
    await expect(waiting).rejects.toMatchObject({ name: 'AbortError' })
    expect((await settled(before)).fds).toEqual(before.fds)
  })

  test('a Worker that waits for one can be ended', async () => {
    await using cgroup = await cgroups.create('psi-worker')
    const worker = `const { cgroups } = await import('fancyproc')
      const cgroup = await cgroups.open(${JSON.stringify(cgroup.path)})
      const { parentPort } = await import('node:worker_threads')
      setTimeout(() => parentPort.postMessage('waits'), 50)
      for await (const _ of cgroup.watchPressure('memory', 'some', 2000000, 2000000));`
    const program = `import { Worker } from 'node:worker_threads'
      import { once } from 'node:events'
      for (let i = 0; i < 3; i++) {
        const worker = new Worker(${JSON.stringify(`(async () => {${worker}})()`)}, { eval: true })
        await once(worker, 'message')
        await worker.terminate()
      }
      console.log('well')`
    expect(await command(process.execPath, script(program))).toMatchObject({ code: 0, stdout: 'well\n' })
  })
})

on({ psi: true, user: 'root', cgroup: 'v2-any', kernel: '6.1' }).test(
  'where it is not accounted for',
  async () => {
    await using cgroup = await cgroups.create('psi-off', { 'cgroup.pressure': 0 })
    await expect(cgroup.watchPressure('cpu', 'some', 1, 2 * SECOND).next()).rejects.toMatchObject({
      code: 'ENOENT',
      hint: expect.stringMatching(/^this cgroup does not account for it/) as unknown,
    })
  },
)
