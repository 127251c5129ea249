import { afterEach, describe, expect, test } from '@jest/globals'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Process, processes, type ProcessEvent, spawn } from 'fancyproc'
import { fork } from './support/fork.ts'
import { on, patient, scaled } from './support/machine.ts'
import { fds } from './support/proc.ts'

/** Where the kernel gives its events to the user who runs this. */
const source = ((): 'connector' | 'polling' => {
  const watch = processes.watch()
  void watch.return()
  return watch.source
})()
const connected = on({ own: [source === 'connector', 'the proc connector'] }).test

const watches: ReturnType<typeof processes.watch>[] = []
const children: Process[] = []
afterEach(async () => {
  for (const watch of watches.splice(0)) await watch.return()
  for (const child of children.splice(0)) await child[Symbol.asyncDispose]()
})

function watch(options: Parameters<typeof processes.watch>[0] = {}): ReturnType<typeof processes.watch> {
  const made = processes.watch(options)
  watches.push(made)
  return made
}

/** What has come when it is done; the watch goes on. */
async function until(
  events: AsyncIterator<ProcessEvent, undefined>,
  done: (seen: ProcessEvent[]) => boolean,
): Promise<ProcessEvent[]> {
  const seen: ProcessEvent[] = []
  for (;;) {
    const { value } = await events.next()
    if (value) seen.push(value)
    if (!value || done(seen)) return seen
  }
}

const of = (pid: number | undefined, events: ProcessEvent[]): ProcessEvent[] =>
  events.filter((event) => 'pid' in event && event.pid === pid)

const hasEnded =
  (pid: number | undefined) =>
  (seen: ProcessEvent[]): boolean =>
    seen.at(-1)?.type === 'exit' && of(pid, seen.slice(-1)).length === 1

describe('from the connector', () => {
  connected('start, exec, exit', async () => {
    const events = watch()
    const child = spawn('sh', ['-c', 'exit 3'], { stdio: 'ignore' })
    const { pid } = await child.spawned
    const seen = of(pid, await until(events, hasEnded(pid)))
    expect(seen[0]).toEqual({ type: 'start', pid, ppid: process.pid })
    // The helper, and the program.
    expect(seen.slice(1, -1)).toEqual([
      { type: 'exec', pid },
      { type: 'exec', pid },
    ])
    expect(seen.at(-1)).toEqual({ type: 'exit', pid, code: 3, signal: null })
  })

  connected('a signal; and what nobody else would see: a process that lives for a moment', async () => {
    const events = watch()
    const child = spawn('sh', ['-c', '(kill -USR2 $(sh -c "echo \\$PPID")); true'], { stdio: 'ignore' })
    const { pid } = await child.spawned
    const seen = await until(events, hasEnded(pid))
    const starts = seen.filter((event) => event.type === 'start' && event.ppid === pid)
    expect(starts).toHaveLength(1)
    const [{ pid: inner } = { pid: 0 }] = starts as { pid: number }[]
    expect(of(inner, seen).at(-1)).toEqual({ type: 'exit', pid: inner, code: null, signal: 'SIGUSR2' })
  })

  connected('threads are no processes, and the first one’s end is not the process’s', async () => {
    const events = watch()
    const child = spawn(process.execPath, ['-e', 'process.exitCode = 5'], { stdio: 'ignore' })
    const { pid } = await child.spawned
    const seen = of(pid, await until(events, hasEnded(pid)))
    expect(seen.map(({ type }) => type)).toEqual(['start', 'exec', 'exec', 'exit'])
    expect(seen.at(-1)).toMatchObject({ code: 5 })
  })

  connected('many, none of them lost and not told of', async () => {
    const count = scaled(300)
    const script = `i=0; while [ $i -lt ${String(count)} ]; do (:); i=$((i+1)); done`
    // The machine's other processes may start so many that the kernel drops some, which it says.
    for (let left = 10; ; left--) {
      await using events = processes.watch()
      const { pid } = await spawn('sh', ['-c', script], { stdio: 'ignore' }).spawned
      const seen = await until(events, (all) => all.at(-1)?.type === 'overrun' || hasEnded(pid)(all))
      if (seen.at(-1)?.type === 'overrun' && left > 0) continue
      expect(seen.some(({ type }) => type === 'overrun')).toBe(false)
      const starts = seen.filter((event) => event.type === 'start' && event.ppid === pid)
      expect(starts).toHaveLength(count)
      for (const start of starts as { pid: number }[]) {
        const types = of(start.pid, seen).map(({ type }) => type)
        expect(types).toEqual(['start', 'exit'])
      }
      break
    }
  })

  connected(
    'what nobody takes is lost, and that is told',
    async () => {
      const events = watch()
      // The kernel has an event for each new name too, and a name is given faster than a process is made.
      const script = 'for (let i = 0; i < 20_000; i++) process.title = `name ${i}`'
      const overrun = async (): Promise<boolean> => {
        const child = spawn('true', [], { stdio: 'ignore' })
        const { pid } = await child.spawned
        const seen = await until(events, (all) => all.at(-1)?.type === 'overrun' || hasEnded(pid)(all))
        return seen.at(-1)?.type === 'overrun'
      }
      expect(await overrun()).toBe(false)
      for (let left = 5; ; left--) {
        // Nothing is taken meanwhile.
        const { code } = await spawn(process.execPath, ['-e', script], { stdio: 'ignore' }).exited
        expect(code).toBe(0)
        if (await overrun()) break
        expect(left).toBeGreaterThan(0)
      }
      // All that came before the loss has been told, and it goes on.
      const child = spawn('true', [], { stdio: 'ignore' })
      const { pid } = await child.spawned
      expect(of(pid, await until(events, hasEnded(pid)))).not.toHaveLength(0)
    },
    120_000,
  )

  on({ user: 'root' }).test('is refused in a pid namespace; polling is not', async () => {
    const child = spawn(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `import { processes } from 'fancyproc'
        console.log(processes.watch({ interval: 20 }).source)
        try { processes.watch({ source: 'connector' }) } catch ({ code, hint }) { console.log(code, hint.split(' is')[0]) }
        process.exit()`,
      ],
      {
        namespaces: ['pid', 'user'].slice(0, 1) as ['pid'],
        env: process.env,
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    )
    let text = ''
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
    await new Promise((resolve) => child.once('close', resolve))
    expect(text).toBe('polling\nEAGAIN the proc connector\n')
  })
})

/** Until the first listing is over: who is in it is not told, so that what is told comes after it. */
async function listed(events: ReturnType<typeof processes.watch>): Promise<void> {
  const first = events.next()
  for (let left = 50; left > 0; left--) {
    children.push(spawn('sleep', ['1000'], { stdio: 'ignore' }))
    if (await Promise.race([first, sleep(patient(20))])) break
  }
  expect(await first).toMatchObject({ done: false })
}

describe('by polling', () => {
  test('start and exit', async () => {
    const events = watch({ source: 'polling', interval: 10 })
    expect(events.source).toBe('polling')
    await listed(events)
    const child = spawn('sh', ['-c', 'read x; exit 3'], { stdio: ['pipe', 'ignore', 'ignore'] })
    children.push(child)
    const { pid } = await child.spawned
    const seen = await until(events, (all) => of(pid, all.slice(-1)).some(({ type }) => type === 'start'))
    expect(of(pid, seen)).toEqual([{ type: 'start', pid, ppid: process.pid }])
    child.stdin?.end('\n')
    const [exit] = of(pid, await until(events, hasEnded(pid)))
    expect(exit).toMatchObject({ type: 'exit', pid })
    expect([3, undefined]).toContain((exit as { code?: number }).code)
  })

  test('those of before are not told, their ends are', async () => {
    const child = spawn('sh', ['-c', 'read x'], { stdio: ['pipe', 'ignore', 'ignore'] })
    children.push(child)
    const { pid } = await child.spawned
    const events = watch({ source: 'polling', interval: 10 })
    await listed(events)
    child.kill('SIGKILL')
    expect(of(pid, await until(events, hasEnded(pid))).map(({ type }) => type)).toEqual(['exit'])
  })
})

describe.each(['connector', 'polling'] as const)('the end of %s', (kind) => {
  const which = kind === 'polling' ? test : connected
  const options = { source: kind, interval: 10 }

  which('return() ends a next() that waits', async () => {
    const events = watch(options)
    const drained = (async () => {
      for (;;) if ((await events.next()).done) return 'over'
    })()
    await sleep(30)
    expect(await events.return()).toEqual({ done: true, value: undefined })
    expect(await drained).toBe('over')
    expect(await events.next()).toEqual({ done: true, value: undefined })
  })

  which('a signal ends it with its reason', async () => {
    const abort = new AbortController()
    const events = watch({ ...options, signal: abort.signal })
    const drained = (async () => {
      for (;;) if ((await events.next()).done) return
    })()
    abort.abort(new Error('enough'))
    await expect(drained).rejects.toThrow('enough')
    expect(() => processes.watch({ ...options, signal: abort.signal })).toThrow('enough')
  })

  which('leaves nothing behind: no descriptor, nothing that keeps the event loop alive', async () => {
    const before = Object.keys(fds('self')).length
    for (let i = 0; i < 5; i++) {
      await using events = processes.watch(options)
      void events.next()
      await sleep(20)
    }
    while (Object.keys(fds('self')).length > before) await sleep(5)
    const { code, stdout } = await fork(
      `
      import { processes, spawn } from 'fancyproc'
      const others = setInterval(() => spawn('sleep', ['0.2'], { stdio: 'ignore' }), 100)
      for await (const event of processes.watch(${JSON.stringify(options)})) {
        clearInterval(others)
        console.log('left')
        break
      }
    `,
    )
    expect([code, stdout]).toEqual([0, 'left\n'])
  })
})

test.each([
  [{ source: 'magic' }, "watch: source: expected 'connector' or 'polling', got \"magic\""],
  [{ interval: 0 }, 'watch: interval: expected an integer from 1'],
  [{ signal: 1 }, 'watch: signal: expected an AbortSignal, got 1'],
  [{ every: 1 }, 'watch: every: no such option'],
  [1, 'watch: options: expected an object, got 1'],
])('mistakes: %j', (options, message) => {
  expect(() => processes.watch(options as never)).toThrow(message)
})
