// Ends that somebody else could hold up: grandchildren with our pipes, files that wait, streams of others.
import { expect } from '@jest/globals'
import { once } from 'node:events'
import { openSync } from 'node:fs'
import { Fd, run, spawn } from 'fancyproc'
import { openpty, sendFd } from 'fancyproc/steps'
import { on } from './support/machine.ts'
import { scratch } from './support/scratch.ts'
import { sh } from './support/sh.ts'

const directory = scratch()

on({}).test('a FIFO for a program is an error, not a wait', async () => {
  const fifo = directory('fifo')
  sh(`mkfifo -m 777 ${fifo}`)
  await expect(run(fifo)).rejects.toMatchObject({ code: 'EACCES', hint: `${fifo} is no regular file` })
})

on({}).test('run() with a timeout does not wait for a grandchild that holds its pipes', async () => {
  const child = run('sh', ['-c', 'echo said; sleep 100 & echo $! >&2; wait'], { timeout: 300 })
  const { stdout, stderr, reason } = await child
  process.kill(Number(stderr), 'SIGKILL')
  expect({ stdout, reason }).toEqual({ stdout: 'said\n', reason: 'timeout' })
})

on({}).test('nor does disposing of a process that has exited', async () => {
  const child = spawn('sh', ['-c', 'sleep 100 & echo $!'])
  const [pid] = (await once(child.stdout!, 'data')) as [Buffer]
  expect(await child.exited).toMatchObject({ code: 0 })
  await child[Symbol.asyncDispose]()
  process.kill(Number(pid), 'SIGKILL')
})

on({}).test('run() collects from a terminal that steps open', async () => {
  const { stdout } = await run('seq', ['3'], { stdio: 'pty', steps: openpty('/dev/ptmx') })
  expect(stdout).toBe('1\r\n2\r\n3\r\n')
})

on({}).test("another process's stream can be inherited", async () => {
  await using reader = spawn('cat', { stdio: ['pipe', 'pipe', 'inherit'] })
  await using writer = spawn('echo', ['through'], { stdio: ['ignore', reader.stdin!, 'inherit'] })
  await writer.exited
  reader.stdin!.end()
  const [chunk] = (await once(reader.stdout!, 'data')) as [Buffer]
  expect(String(chunk)).toBe('through\n')
})

on({}).test('a terminal that steps open has its size before the program runs', async () => {
  const { stdout } = await run('stty', ['size'], {
    stdio: 'pty',
    steps: openpty('/dev/ptmx', { columns: 77, rows: 33 }),
  })
  expect(stdout).toBe('33 77\r\n')
})

on({}).test('fds have any name', async () => {
  using file = new Fd(openSync('/dev/null', 'r'))
  await using child = spawn('true', { steps: [sendFd('constructor', file), sendFd('__proto__', file)] })
  await child.exited
  expect(Object.keys(child.fds)).toEqual(['constructor', '__proto__'])
})

on({}).test('one side of a window is enough', async () => {
  const { stdout } = await run('stty', ['size'], { stdio: 'pty', pty: { rows: 50 } })
  expect(stdout).toBe('50 80\r\n')
})

on({}).test('an exit listener that throws keeps nobody waiting', async () => {
  const script = `
    import { spawn } from 'fancyproc'
    process.on('uncaughtException', (error) => console.log(error.message))
    const child = spawn('true', { stdio: 'ignore' })
    child.on('exit', () => { throw new Error('thrown') })
    child.on('close', () => console.log('closed'))`
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], { env: {} })
  expect(stdout).toBe('thrown\nclosed\n')
})
