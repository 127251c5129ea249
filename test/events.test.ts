// Who is told what: events and promises, none of which needs the other.
import { describe, expect, test } from '@jest/globals'
import { once } from 'node:events'
import { run, spawn, type Process } from 'fancyproc'
import { chdir } from 'fancyproc/steps'
import { fork } from './support/fork.ts'
import { stat } from './support/proc.ts'

function record(child: Process): string[] {
  const seen: string[] = []
  child.on('spawn', () => seen.push(`spawn ${typeof child.pid}`))
  child.on('error', (error) => seen.push(`error ${error.name}`))
  child.on('exit', (code, signal) => seen.push(`exit ${String(code)} ${String(signal)}`))
  child.on('close', (code, signal) => seen.push(`close ${String(code)} ${String(signal)}`))
  child.stdout?.on('end', () => seen.push('end'))
  child.stdout?.resume()
  return seen
}

const closed = (child: Process): Promise<unknown> => new Promise((resolve) => child.once('close', resolve))

describe('the order of events', () => {
  test('of a program that runs', async () => {
    const child = spawn('sh', ['-c', 'echo x; exit 5'], { stdio: ['ignore', 'pipe', 'ignore'] })
    const seen = record(child)
    expect(child.pid).toBeUndefined()
    await closed(child)
    expect(seen.filter((name) => name !== 'end')).toEqual(['spawn number', 'exit 5 null', 'close 5 null'])
    expect(seen.indexOf('end')).toBeLessThan(seen.indexOf('close 5 null'))
  })

  test('of one whose setup fails', async () => {
    const child = spawn('true', { steps: [chdir('/nonexistent')] })
    const seen = record(child)
    await closed(child)
    expect(seen.filter((name) => name !== 'end')).toEqual(['error KernelError', 'close null null'])
    expect([child.pid, child.exitCode, child.signalCode]).toEqual([undefined, null, null])
    expect(child.stdio.every((stream) => stream!.destroyed)).toBe(true)
  })

  test("'close' waits for output that a grandchild still holds open", async () => {
    const child = spawn('sh', ['-c', '{ read line; echo late; } <&3 & exit 0'], {
      stdio: ['ignore', 'pipe', 'ignore', 'pipe'],
    })
    const seen = record(child)
    const output: string[] = []
    child.stdout!.setEncoding('utf8').on('data', (text: string) => output.push(text))
    await child.exited
    expect(seen).toEqual(['spawn number', 'exit 0 null'])
    child.stdio[3]!.end('go\n')
    await closed(child)
    expect(output.join('')).toBe('late\n')
  })

  test('none is lost to a listener that comes after an await', async () => {
    const child = spawn('true')
    await child.exited
    await once(child, 'close')
  })

  test('an end is noticed of each of many, whatever else goes on', async () => {
    const codes = await Promise.all(
      Array.from({ length: 64 }, async (_, i) => (await run('sh', ['-c', `exit ${String(i)}`])).code),
    )
    expect(codes).toEqual(Array.from({ length: 64 }, (_, i) => i))
  })
})

describe('in a process of its own', () => {
  /** What a script prints and how it ends; `later` is after every event has been. */
  const later = `process.on('unhandledRejection', (error) => console.log('unhandled', error.code))
    process.on('uncaughtException', (error) => console.log('uncaught', error.code ?? error.message))
    import { spawn, run } from 'fancyproc'
    import { chdir } from 'fancyproc/steps'\n`
  const failing = `const child = spawn('true', { steps: [chdir('/nonexistent')] })\n`

  test.each([
    ["'error' alone", `child.on('error', (error) => console.log('error', error.code))`, 'error ENOENT\n'],
    ['exited alone', `child.exited.catch((error) => console.log('exited', error.code))`, 'exited ENOENT\n'],
    [
      'spawned alone',
      `child.spawned.catch((error) => console.log('spawned', error.code))`,
      'spawned ENOENT\n',
    ],
    ['disposal alone', `await child[Symbol.asyncDispose]()`, ''],
    ['nobody', '', 'uncaught ENOENT\n'],
    ['exited, which nobody catches', `child.exited.then(() => undefined)`, 'unhandled ENOENT\n'],
  ])('a failed setup is told to %s', async (_name, script, expected) => {
    expect(await fork(later + failing + script)).toEqual({
      code: 0,
      signal: null,
      stdout: expected,
      stderr: '',
    })
  })

  test('neither end nor kill() leaves a rejection behind', async () => {
    const script = `spawn('false'); spawn('sleep', ['1000']).kill(); const child = spawn('sleep', ['1000'])
      child.on('spawn', () => child.kill()).on('close', (code, signal) => console.log(signal))
      const { signal } = new AbortController(); spawn('true', { signal })
      spawn('true', { signal: AbortSignal.abort() }).on('error', (error) => console.log(error.code))`
    const { stdout, stderr, code } = await fork(later + script)
    expect([stdout.split('\n').sort(), stderr, code]).toEqual([['', 'ABORT_ERR', 'SIGTERM'], '', 0])
  })

  test('a listener that throws keeps nothing from other processes', async () => {
    const script = `for (let i = 0; i < 8; i++) {
        spawn('true', { stdio: 'ignore' }).on(['spawn', 'exit', 'close'][i % 3], () => { throw new Error('thrown') })
        spawn('/nonexistent', { stdio: 'ignore' })
      }
      // So that what the children tell comes in one batch.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200)
      const ends = Array.from({ length: 8 }, () => spawn('true', { stdio: 'ignore' }).exited)
      console.log((await Promise.all(ends)).length)`
    const { stdout, code } = await fork(later + script)
    const count = (line: string): number => stdout.split('\n').filter((each) => each === line).length
    expect([count('uncaught thrown'), count('uncaught ENOENT'), count('8'), code]).toEqual([8, 8, 1, 0])
  })

  test('a process keeps the event loop alive, unless unref()ed', async () => {
    const script = `const stdio = 'ignore'
      const one = spawn('sleep', ['0.05'], { stdio }); one.unref(); one.ref(); one.ref()
      one.on('close', () => console.log('ended'))
      const other = await spawn('sleep', ['1000'], { stdio }).spawned; other.unref(); other.unref()
      process.on('exit', () => { other.kill('SIGKILL'); console.log('exit') })`
    expect(await fork(later + script)).toMatchObject({ code: 0, stdout: 'ended\nexit\n', stderr: '' })
  })

  test('an unref()ed one still tells its end while the loop lives on', async () => {
    const script = `const child = spawn('true', { stdio: 'ignore' }); child.unref()
      const timer = setInterval(() => undefined, 1000)
      child.on('exit', (code) => { console.log(code); clearInterval(timer) })`
    expect(await fork(later + script)).toMatchObject({ code: 0, stdout: '0\n' })
  })

  test('NODE_DEBUG=fancyproc traces the plan and the result', async () => {
    const script = `await run('true', [], { steps: [chdir('/tmp')] }); await spawn('/nonexistent').exited.catch(() => 0)`
    const { stderr } = await fork(later + script, { NODE_DEBUG: 'fancyproc' })
    expect(stderr).toMatch(/^FANCYPROC \d+: .*\["true"\].*\nchdir\("\/tmp"\)$/m)
    expect(stderr).toMatch(/^FANCYPROC \d+: true: pid \d+$/m)
    expect(stderr).toMatch(/^FANCYPROC \d+: true: pid \d+ ended: 0$/m)
    expect(stderr).toMatch(/^FANCYPROC \d+: \/nonexistent: ENOENT: /m)
  })
})

describe('pid', () => {
  test("is there from 'spawn' on, and is not one of this process's others", async () => {
    const child = spawn('sleep', ['1000'])
    expect([child.pid, child.pidfd]).toEqual([undefined, undefined])
    await once(child, 'spawn')
    expect(Number(stat(child.pid)[1])).toBe(process.pid)
    await child[Symbol.asyncDispose]()
    expect(child.pid).toBeGreaterThan(0)
  })
})
