// The examples that are written on ps(), beside the programs that they are like.
import { afterAll, afterEach, describe, expect, test } from '@jest/globals'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Process, spawn } from 'fancyproc'
import { command } from './support/fork.ts'
import { isolated, rights } from './support/isolated.ts'
import { facts, on } from './support/machine.ts'
import { asleep } from './support/proc.ts'
import { sh } from './support/sh.ts'

const children: Process[] = []
afterEach(async () => {
  for (const child of children.splice(0)) await child[Symbol.asyncDispose]()
})

async function started(options: Parameters<typeof spawn>[2] = {}): Promise<number> {
  const child = spawn('sh', ['-c', 'read x', 'an', 'argument'], {
    stdio: ['pipe', 'ignore', 'inherit'],
    ...options,
  })
  children.push(child)
  const { pid } = await child.spawned
  await asleep(pid)
  return pid ?? 0
}

describe('ps-efZ', () => {
  on({ ...rights, tools: 'ps' }).test('prints what ps -efZ prints', async () => {
    const pids = [
      await started(),
      await started({ stdio: 'pty' }),
      await started(isolated(['pid', 'mnt', 'net', 'ipc', 'uts'])),
      1,
    ]
    // The minute of a start may be another, as ps counts from a whole second of boot; and usage changes. Where a label
    // is wider than its column, ps takes the spaces of those behind it.
    const lines = (text: string): string[] =>
      text
        .split('\n')
        .filter((line) => pids.includes(Number(line.slice(31).split(/\s+/)[2])))
        .map((line) => line.replace(/ +\d+ \d\d:\d\d(?= \S+ +\d\d:\d\d:\d\d )/, ' C hh:mm'))
        .map((line) => (/^\S{32}/.test(line) ? line.replace(/ +/g, ' ') : line))
    const { stdout, stderr } = await command(process.execPath, ['dist/examples/ps-efZ.js'])
    expect(stderr).toBe('')
    expect(stdout.split('\n')[0]).toBe(sh('ps -efZ').split('\n')[0])
    expect(lines(stdout)).toHaveLength(pids.length)
    // Of pid 1 nobody knows how much it works meanwhile.
    const own = lines(stdout).slice(1)
    for (const line of own) expect(lines(sh('ps -efZ'))).toContain(line)
  })
})

const place = mkdtempSync(join(tmpdir(), 'fancyproc-top-'))
afterAll(() => {
  rmSync(place, { recursive: true, force: true })
})

describe('docker top', () => {
  // Its state directory, and its mounts, are for a machine where the lab runs.
  on({ ...rights, ...(facts.lsm === 'selinux' ? { user: 'root' } : {}) }).test(
    'shows the processes of one',
    async () => {
      const docker = (...args: string[]): ReturnType<typeof command> =>
        command(process.execPath, ['dist/examples/docker/main.js', ...args], {
          FANCYPROC_DOCKER_STATE: place,
        })
      const run = await docker(
        'run',
        '-d',
        '--name',
        'crowd',
        'debian',
        'sh',
        '-c',
        'sleep 1000 & sleep 1000 & wait',
      )
      expect(run).toMatchObject({ code: 0 })
      try {
        let stdout = ''
        // Until they have executed their programs.
        while (stdout.match(/ sleep 1000$/gm)?.length !== 2) stdout = (await docker('top', 'crowd')).stdout
        const [header, ...rows] = stdout.trimEnd().split('\n')
        expect(header).toMatch(/^UID +PID +PPID +C +STIME +TTY +TIME +CMD$/)
        expect(rows.map((row) => row.split(/ \d\d:\d\d:\d\d /)[1]).sort()).toEqual([
          'sh -c sleep 1000 & sleep 1000 & wait',
          'sleep 1000',
          'sleep 1000',
        ])
        expect(await docker('top', 'nobody')).toMatchObject({ code: 1, stdout: '' })
        expect(await docker('top')).toMatchObject({ code: 1, stdout: '' })
      } finally {
        await docker('rm', '-f', 'crowd')
      }
    },
  )
})

test('without arguments the engine says that it knows top', async () => {
  const { stdout } = await command(process.execPath, ['dist/examples/docker/main.js', 'help'])
  expect(stdout).toContain('top CONTAINER')
})
