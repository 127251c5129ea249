// How a process ends: kill(), timeout, AbortSignal, disposal; at every moment of its life.
import { describe, expect, test } from '@jest/globals'
import { getEventListeners, once } from 'node:events'
import { readFileSync } from 'node:fs'
import { run, spawn, type Process, type SpawnOptions } from 'fancyproc'
import { clone, mapUser, mkdir, unshare } from 'fancyproc/steps'
import { facts, on, patient, scaled } from './support/machine.ts'
import { stat } from './support/proc.ts'
import { begun, blocked, scratch } from './support/scratch.ts'

const directory = scratch()

/** The first process of a pid namespace, for whoever we are. */
const init: SpawnOptions =
  facts.user === 'root' ? { namespaces: ['pid'] } : { namespaces: ['user', 'pid'], steps: mapUser() }
const rights = facts.user === 'root' ? {} : { userns: true }

let fifos = 0
const waiting = (): SpawnOptions => ({ steps: blocked(directory(`fifo${String(fifos++)}`)) })

/** Its events, up to 'close'. */
function emitted(child: Process): Promise<string[]> {
  const seen: string[] = []
  for (const name of ['spawn', 'error', 'exit', 'close'] as const) child.on(name, () => seen.push(name))
  return new Promise((resolve) => {
    child.once('close', () => {
      resolve(seen)
    })
  })
}

describe('kill()', () => {
  test('sends SIGTERM, or what is named', async () => {
    for (const [given, signal] of [
      [undefined, 'SIGTERM'],
      ['SIGKILL', 'SIGKILL'],
      [2, 'SIGINT'],
      ['SIGUSR2', 'SIGUSR2'],
    ] as const) {
      const child = await spawn('sleep', ['1000']).spawned
      expect([child.kill(given), child.killed]).toEqual([true, true])
      expect(await child.exited).toMatchObject({ code: null, signal, reason: 'signaled' })
      expect([child.exitCode, child.signalCode]).toEqual([null, signal])
    }
  })

  test('0 asks only', async () => {
    const child = spawn('sleep', ['1000'])
    expect([child.kill(0), child.killed]).toEqual([true, false])
    await child.spawned
    expect([child.kill(0), child.killed]).toEqual([true, false])
    child.kill()
    await child.exited
    expect(child.kill(0)).toBe(false)
  })

  test('a signal that the program handles is no end, though it be told before we have heard of the program', async () => {
    for (let i = 0; i < scaled(50); i++) {
      const script = 'trap "echo got it; exit 9" USR1; echo ready; while :; do sleep 0.01; done'
      const child = spawn('sh', ['-c', script])
      const output: string[] = []
      // It may come before 'spawn': the two arrive by different ways.
      child.stdout!.setEncoding('utf8').on('data', (text: string) => {
        if (output.push(text) === 1) child.kill('SIGUSR1')
      })
      expect(await child.exited).toMatchObject({ code: 9, signal: null, reason: 'exited' })
      await new Promise((resolve) => child.once('close', resolve))
      expect(output.join('')).toBe('ready\ngot it\n')
    }
  })

  test('in the same turn as the spawn', async () => {
    const child = spawn('sleep', ['1000'])
    expect(child.kill('SIGUSR1')).toBe(true)
    // Whether the program runs already is the kernel's to say.
    const { code, signal, reason } = await child.exited
    expect([code, `${String(signal)} ${reason}`]).toEqual([
      null,
      expect.stringMatching(/^(SIGKILL cancelled|SIGUSR1 signaled)$/),
    ])
  })

  test('of many, all at once', async () => {
    const children = Array.from({ length: scaled(200) }, () => spawn('sleep', ['1000'], { stdio: 'ignore' }))
    for (const child of children) child.kill()
    for (const { reason, signal } of await Promise.all(children.map((child) => child.exited))) {
      expect(`${String(signal)} ${reason}`).toMatch(/^(SIGKILL cancelled|SIGTERM signaled)$/)
    }
  })

  test('while a step waits: its program never runs', async () => {
    await using child = spawn('sh', ['-c', `touch ${directory('cancelled')}`], waiting())
    const seen = emitted(child)
    await begun(child)
    expect(child.kill('SIGTERM')).toBe(true)
    await expect(child.spawned).rejects.toMatchObject({ name: 'AbortError' })
    expect(await child.exited).toMatchObject({ code: null, signal: 'SIGKILL', reason: 'cancelled' })
    expect(await seen).toEqual(['exit', 'close'])
    expect(child.pid).toBeUndefined()
    expect(() => readFileSync(directory('cancelled'))).toThrow('ENOENT')
  })

  test('after the end: nothing', async () => {
    const child = spawn('true')
    await child.exited
    expect([child.kill(), child.kill('SIGKILL'), child.killed]).toEqual([false, false, false])
    await once(child, 'close')
    expect(child.kill()).toBe(false)
  })

  test.each([['SIGNOTHING'], ['sigterm'], [65], [-1], [1.5], [NaN], [null], [{}]])(
    'no signal: %p',
    async (signal) => {
      await using child = await spawn('sleep', ['1000']).spawned
      expect(() => child.kill(signal as unknown as number)).toThrow(TypeError)
      expect(() => child.kill(signal as unknown as number)).toThrow(/^signal: /)
      expect(child.killed).toBe(false)
    },
  )
})

describe('the first process of a pid namespace', () => {
  on(rights).test('does not mind SIGTERM; kill() without a signal ends it', async () => {
    const child = await spawn('sh', ['-c', 'while read line; do echo $$ $line; done'], init).spawned
    child.kill('SIGTERM')
    child.stdin!.write('lives\n')
    const [output] = (await once(child.stdout!, 'data')) as [Buffer]
    expect(output.toString()).toBe('1 lives\n')
    expect(child.kill()).toBe(true)
    expect(await child.exited).toMatchObject({ signal: 'SIGKILL', reason: 'signaled' })
  })

  on(rights).test('ends by its timeout, by its AbortSignal', async () => {
    const late = spawn('sleep', ['1000'], { ...init, timeout: 20 })
    expect(await late.exited).toMatchObject({ signal: 'SIGKILL', reason: 'timeout' })
    const controller = new AbortController()
    const aborted = await spawn('sleep', ['1000'], { ...init, signal: controller.signal }).spawned
    controller.abort()
    expect(await aborted.exited).toMatchObject({ signal: 'SIGKILL', reason: 'aborted' })
  })

  on(rights).test('also one that a clone step has made', async () => {
    const user = facts.user === 'root' ? [] : [unshare('user'), mapUser()]
    const controller = new AbortController()
    const options = { steps: [user, clone('pid')].flat(), signal: controller.signal }
    const child = await spawn('sleep', ['1000'], options).spawned
    controller.abort()
    expect(await child.exited).toMatchObject({ signal: 'SIGKILL', reason: 'aborted' })
  })
})

describe('timeout', () => {
  test('ends it with killSignal', async () => {
    expect(await run('sleep', ['1000'], { timeout: 500, killSignal: 'SIGINT' })).toMatchObject({
      code: null,
      signal: 'SIGINT',
      reason: 'timeout',
    })
  })

  test('ends its setup', async () => {
    const child = spawn('true', { ...waiting(), timeout: 50 })
    expect(await child.exited).toMatchObject({ signal: 'SIGKILL', reason: 'timeout' })
  })

  test('one that ends by itself in time has exited', async () => {
    expect(await run('true', [], { timeout: 20_000 })).toMatchObject({ code: 0, reason: 'exited' })
  })

  test('one that answers the signal by exiting was still late', async () => {
    const script = 'trap "exit 4" TERM; while :; do sleep 0.01; done'
    expect(await run('sh', ['-c', script], { timeout: patient(500) })).toMatchObject({
      code: 4,
      reason: 'timeout',
    })
  })
})

describe('AbortSignal', () => {
  test('aborted already: nothing starts', async () => {
    const signal = AbortSignal.abort('why')
    const child = spawn('sh', ['-c', `touch ${directory('aborted')}`], { signal })
    const seen = emitted(child)
    const expected = { name: 'AbortError', code: 'ABORT_ERR', cause: 'why' }
    await expect(child.exited).rejects.toMatchObject(expected)
    await expect(child.spawned).rejects.toMatchObject(expected)
    expect(child.kill()).toBe(false)
    expect(await seen).toEqual(['error', 'close'])
    expect(child.pid).toBeUndefined()
    expect(() => readFileSync(directory('aborted'))).toThrow('ENOENT')
  })

  test('aborts in the same turn as the spawn', async () => {
    for (let i = 0; i < scaled(50); i++) {
      const controller = new AbortController()
      const child = spawn('sleep', ['1000'], { signal: controller.signal, stdio: 'ignore' })
      controller.abort()
      expect(await child.exited).toMatchObject({ code: null, reason: 'aborted' })
    }
  })

  test('aborts while all spawners are busy', async () => {
    const controllers = Array.from({ length: scaled(100) }, () => new AbortController())
    const children = controllers.map(({ signal }) => spawn('sleep', ['1000'], { signal, stdio: 'ignore' }))
    for (const controller of controllers) controller.abort()
    for (const { reason } of await Promise.all(children.map((child) => child.exited)))
      expect(reason).toBe('aborted')
  })

  test('aborts the setup', async () => {
    const controller = new AbortController()
    const child = spawn('true', { ...waiting(), signal: controller.signal })
    await begun(child)
    controller.abort()
    expect(await child.exited).toMatchObject({ signal: 'SIGKILL', reason: 'aborted' })
  })

  test('aborts the program; a listener is told', async () => {
    const controller = new AbortController()
    const child = await spawn('sleep', ['1000'], { signal: controller.signal }).spawned
    const errors: Error[] = []
    child.on('error', (error) => errors.push(error))
    controller.abort(new Error('enough'))
    expect(await child.exited).toMatchObject({ signal: 'SIGTERM', reason: 'aborted' })
    expect(errors).toMatchObject([{ name: 'AbortError', cause: { message: 'enough' } }])
  })

  test('after the end it means nothing, and nobody listens to it', async () => {
    const controller = new AbortController()
    const child = spawn('true', { signal: controller.signal })
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(1)
    expect(await child.exited).toMatchObject({ reason: 'exited' })
    const failed = spawn('/nonexistent', { signal: controller.signal })
    const closed = new Promise((resolve) => failed.once('close', resolve))
    await expect(failed.exited).rejects.toThrow('ENOENT')
    await closed
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0)
    const errors: Error[] = []
    child.on('error', (error) => errors.push(error))
    controller.abort()
    expect(errors).toEqual([])
  })
})

describe('disposal', () => {
  test('kills, and waits for the end', async () => {
    const child = await spawn('sleep', ['1000']).spawned
    const { pid } = child
    await child[Symbol.asyncDispose]()
    expect(child.signalCode).toBe('SIGKILL')
    expect(() => stat(pid)).toThrow('ENOENT')
    expect(child.stdio.every((stream) => stream!.destroyed)).toBe(true)
  })

  test('twice, and both at once', async () => {
    const child = await spawn('sleep', ['1000']).spawned
    await Promise.all([child[Symbol.asyncDispose](), child[Symbol.asyncDispose]()])
    await child[Symbol.asyncDispose]()
    {
      await using same = child
      await using again = same
      expect(again.signalCode).toBe('SIGKILL')
    }
  })

  test('before it has begun, during its setup, after its end, when it never started', async () => {
    const early = spawn('sleep', ['1000'])
    await early[Symbol.asyncDispose]()
    expect(early.signalCode).toBe('SIGKILL')
    const stopped = spawn('true', waiting())
    await begun(stopped)
    await stopped[Symbol.asyncDispose]()
    expect(await stopped.exited).toMatchObject({ reason: 'cancelled' })
    const ended = spawn('echo', ['unread'])
    await ended.exited
    await ended[Symbol.asyncDispose]()
    expect(ended.exitCode).toBe(0)
    const failing = spawn('true', { steps: [mkdir('/proc/nowhere')] })
    await expect(failing.exited).rejects.toThrow('ENOENT')
    await failing[Symbol.asyncDispose]()
    const refused = spawn('true', { signal: AbortSignal.abort() })
    await refused[Symbol.asyncDispose]()
    await expect(refused.exited).rejects.toThrow('aborted')
  })

  test('closes pidfd and what it was sent', async () => {
    const child = await spawn('sleep', ['1000']).spawned
    const pidfd = child.pidfd!
    expect(readFileSync(`/proc/self/fdinfo/${String(pidfd.fd)}`, 'utf8')).toMatch(
      new RegExp(`^Pid:\\s*${String(child.pid)}$`, 'm'),
    )
    expect(child.pidfd).toBe(pidfd)
    await child[Symbol.asyncDispose]()
    expect(pidfd.closed).toBe(true)
  })
})
