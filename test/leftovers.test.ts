// What is left, and what is said, when something ends at a bad moment, or there is more than room for.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { namespaces, run, spawn } from 'fancyproc'
import { chdir, clone, open, procfs, readFile, sendFd, unshare, writeFile } from 'fancyproc/steps'
import { perform } from '../lib/perform.ts'
import { fork } from './support/fork.ts'
import { isolated, rights } from './support/isolated.ts'
import { facts, on, patient, scaled } from './support/machine.ts'
import { begun, blocked, scratch } from './support/scratch.ts'
import { type Leaks, leaks, settled } from './support/state.ts'

const path = scratch()

let before: Leaks
beforeAll(async () => {
  await run('true', [], { stdio: 'pty' })
  // /dev/null is opened once.
  await run('true', [], { stdio: 'ignore' })
  await namespaces()
  before = leaks()
})
afterAll(async () => {
  expect(await settled(before)).toEqual(before)
})

on(rights).test('namespaces.create that fails after it has sent all: no namespace stays', async () => {
  const held = async (): Promise<number[]> => {
    const all = await namespaces()
    return all.filter(({ fds }) => fds.some(({ pid }) => pid === process.pid)).map(({ inode }) => inode)
  }
  const own = facts.user === 'root' ? [] : (['user'] as const)
  const at = await held()
  for (let i = 0; i < scaled(20); i++) {
    const net = open('self/ns/net', 'O_RDONLY', undefined, { dirfd: procfs })
    const steps = [net, sendFd('mine', net), sendFd('namespace:net', net), chdir('/proc/none')]
    await expect(namespaces.create([...own, 'net', 'uts'], steps)).rejects.toMatchObject({
      code: 'ENOENT',
      step: 3,
    })
  }
  expect(await held()).toEqual(at)
  expect(await settled(before)).toEqual(before)
})

describe('readFile', () => {
  const most = 1 << 24

  test('16 MiB, and not a byte more', async () => {
    const file = path('long')
    writeFileSync(file, '')
    truncateSync(file, most)
    const { data } = await perform([readFile('long', file, { most })])
    expect(data['long']).toHaveLength(most)
    truncateSync(file, most + 1)
    await expect(perform([readFile('long', file, { most })])).rejects.toMatchObject({
      code: 'EFBIG',
      hint: `it has more than ${String(most)} bytes: say how many with \`most\``,
    })
    expect(() => readFile('long', file, { most: most + 1 })).toThrow(RangeError)
  })

  // Their sum is beyond 2^31, then beyond 2^32.
  test.each([63, 64, 128, 192, 256, 300])('%i of them: a gigabyte together at the most', async (count) => {
    const steps = Array.from({ length: count }, (_, i) => readFile(String(i), '/dev/null', { most }))
    const read = perform(steps)
    if (count < 64) expect(Object.keys((await read).data)).toHaveLength(count)
    else await expect(read).rejects.toThrow(/^steps: .* more than a gigabyte/)
  })
})

test('a terminal that is sent twice: the first one is closed', async () => {
  const [first, second] = [open('/dev/ptmx', 'O_RDWR'), open('/dev/ptmx', 'O_RDWR')]
  const steps = [first, sendFd('pty', first), second, sendFd('pty', second)]
  const child = spawn('true', { stdio: 'ignore', steps })
  await child.exited
  await child[Symbol.asyncDispose]()
  expect(await settled(before)).toEqual(before)
})

// All events of a batch are one call; what JavaScript has not looked at by then, nobody closes.
test.each(['terminate()', 'process.exit()'])(
  'a Worker that ends by %s among events: no descriptor stays',
  async (how) => {
    const end = how === 'terminate()' ? 'parentPort.postMessage(0); for (;;);' : 'process.exit()'
    const worker = `
    import { parentPort } from 'node:worker_threads'
    import { spawn } from 'fancyproc'
    import { open, sendFd } from 'fancyproc/steps'
    spawn('true', { stdio: 'ignore' }).on('spawn', () => { ${end} })
    for (let i = 0; i < 10; i++) {
      const file = open('/dev/zero')
      spawn('true', { stdio: 'ignore', steps: [file, sendFd('file', file)] })
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500)`
    const { stdout, stderr } = await fork(`
    import { readdirSync, readlinkSync } from 'node:fs'
    import { setTimeout as sleep } from 'node:timers/promises'
    import { Worker } from 'node:worker_threads'
    const worker = new Worker(${JSON.stringify(worker)}, { eval: true })
    worker.on('message', () => setTimeout(() => worker.terminate(), 50))
    await new Promise((resolve) => worker.on('exit', resolve))
    await sleep(50)
    const files = readdirSync('/proc/self/fd').map((fd) => {
      try { return readlinkSync('/proc/self/fd/' + fd) } catch { return '' }
    })
    console.log(files.filter((file) => file === '/dev/zero').length)`)
    expect(stderr).toBe('')
    expect(stdout).toBe('0\n')
  },
)

// child_process.execFile calls back with EPERM.
on({ user: 'root' }).test(
  'run() of what has become somebody else’s: more than maxBuffer is a rejection',
  async () => {
    const { stdout, stderr } = await fork(`
    import { run } from 'fancyproc'
    const over = run('sh', ['-c', 'sleep 0.5; exec yes'], { maxBuffer: 1000 }).then(() => 'ran', (error) => error.code)
    await new Promise((resolve) => setTimeout(resolve, 200))
    process.setgid(12345)
    process.setuid(12345)
    console.log(await over)`)
    expect(stderr).toBe('')
    expect(stdout).toMatch(/^(ERR_CHILD_PROCESS_STDIO_MAXBUFFER|EPERM)\n$/)
  },
)

describe('the setup', () => {
  test.each(['SIGSEGV', 'SIGBUS', 'SIGABRT'] as const)(
    'ended by %s: an error, and this process lives',
    async (signal) => {
      const child = spawn('true', { stdio: 'ignore', steps: blocked(path(signal)) })
      process.kill(await begun(child), signal)
      await expect(child.exited).rejects.toMatchObject({ code: signal, signal, step: 3 })
    },
  )

  on(rights).test('offsets of a time namespace are written by who makes it, for who is in it', async () => {
    const boottime = writeFile('self/timens_offsets', 'boottime 1000000 0', { dirfd: procfs })
    const { stdout } = await run('cat', ['/proc/uptime'], isolated([], unshare('time'), boottime, clone()))
    const ours = parseFloat(readFileSync('/proc/uptime', 'latin1'))
    expect(Math.abs(parseFloat(stdout) - ours - 1_000_000)).toBeLessThan(patient(10))
  })
})

describe('the signal that ended it has the name that Node gives it', () => {
  // Of two names for one number.
  test.each(['SIGABRT', 'SIGIO', 'SIGSYS', 'SIGBUS'] as const)('%s', async (signal) => {
    const child = await spawn('sleep', ['1000'], { stdio: 'ignore' }).spawned
    child.kill(signal)
    expect(await child.exited).toMatchObject({ code: null, signal })
    expect(child.signalCode).toBe(signal)
  })
})

// The kernel's, of which thread.unshare warns: our spawns are made by another thread.
on({ user: 'root' }).test(
  "a thread that has unshared its children's pid namespace: ENOMEM, but not for us",
  async () => {
    const { stdout, stderr } = await fork(`
    import { spawnSync } from 'node:child_process'
    import { run } from 'fancyproc'
    import { unshare } from 'fancyproc/thread'
    unshare('pid')
    const theirs = [1, 2].map(() => spawnSync('true').error?.code ?? 'ran')
    const ours = [await run('true'), await run('true')].map(({ code }) => code)
    console.log(JSON.stringify([...theirs, ...ours]))`)
    expect(stderr).toBe('')
    expect(stdout).toBe('["ran","ENOMEM",0,0]\n')
  },
)
