// Processes whose files in /proc are as long as they like: whoever reads them takes no harm.
import { beforeAll, expect, test } from '@jest/globals'
import { execFileSync, spawn as fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { isolation, joinSteps, ps, spawn } from 'fancyproc'
import { bind } from 'fancyproc/steps'
import { command, script } from './support/fork.ts'
import { isolated, rights } from './support/isolated.ts'
import { on } from './support/machine.ts'
import { scratch } from './support/scratch.ts'

const path = scratch()

/** Says that its arguments and its environment are so many bytes, as do its children. */
async function liar(bytes: number, children = 0): Promise<{ pid: number } & AsyncDisposable> {
  const child = fork(path('liar'), [String(bytes), String(children)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const closed = once(child, 'close')
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
  expect(line).toBe('ready')
  return {
    pid: child.pid ?? 0,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await closed
    },
  }
}

on({ tools: 'gcc' }).describe('arguments and environment in memory that nobody has touched', () => {
  beforeAll(() => {
    const source = fileURLToPath(new URL('programs/liar.c', import.meta.url))
    execFileSync('gcc', ['-O1', '-o', path('liar'), source])
  })

  test('no more than 2 MiB, and 262,144 of them', async () => {
    await using one = await liar(64 << 20)
    const [info] = await ps({ fields: ['args', 'rss'], pids: [one.pid] })
    expect(info?.args).toEqual(Array(1 << 18).fill(''))
    expect(info?.rss).toBeLessThan(16 << 20)
  })

  test('of many, a listing fits into what Node has', async () => {
    await using one = await liar(8 << 20, 60)
    const text = `
      import { ps } from 'fancyproc'
      const rows = await ps({ fields: ['args', 'ppid', 'pid'] })
      const liars = rows.filter(({ pid, ppid }) => pid === ${String(one.pid)} || ppid === ${String(one.pid)})
      console.log(liars.length, rows.find(({ pid }) => pid === process.pid).args.length)`
    const args = ['--max-old-space-size=256', ...script(text)]
    const { code, stdout, stderr } = await command(process.execPath, args)
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: `61 ${String(1 + args.length)}\n`,
      stderr: '',
    })
  })

  test('an environment that no execve takes is not inherited', async () => {
    await using one = await liar(64 << 20)
    expect(() => joinSteps({ target: one.pid, inherit: ['env'] })).toThrow(
      expect.objectContaining({
        code: 'E2BIG',
        path: `/proc/${String(one.pid)}/environ`,
        message: expect.stringContaining('larger than execve takes'),
      }),
    )
  })
})

on(rights).describe('mounts', () => {
  let deep = ''
  beforeAll(() => {
    // Each byte of it is four of mountinfo.
    deep = path(...Array<string>(14).fill(' '.repeat(250)))
    mkdirSync(deep, { recursive: true })
  })
  const mounts = (count: number): ReturnType<typeof isolated> => ({
    ...isolated(
      ['mnt'],
      Array.from({ length: count }, () => bind(deep, deep)),
    ),
    stdio: 'ignore',
  })

  test('all of those that one may have', async () => {
    await using child = await spawn('sleep', ['1000'], mounts(300)).spawned
    const { mounts: own } = await isolation(child, { from: process.pid })
    expect(own?.filter(({ mountPoint }) => mountPoint === deep)).toHaveLength(300)
  })

  test('more than 32 MiB of them are an error', async () => {
    await using child = await spawn('sleep', ['1000'], mounts(1300)).spawned
    await expect(isolation(child, { from: process.pid })).rejects.toMatchObject({
      code: 'EFBIG',
      syscall: 'read',
      path: `/proc/${String(child.pid)}/mountinfo`,
    })
  })
})
