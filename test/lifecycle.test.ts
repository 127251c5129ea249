// Node processes that end in one way or another while children of theirs run: each a process of its own.
import { describe, expect, jest, test } from '@jest/globals'
import { spawn as spawnNode } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { command } from './support/fork.ts'
import { facts, on, patient, scaled } from './support/machine.ts'
import { stat, strings } from './support/proc.ts'
import { scratch } from './support/scratch.ts'

const directory = scratch()
const program = fileURLToPath(new URL('programs/lifecycle.mjs', import.meta.url))

let directories = 0
function fresh(): string {
  const path = directory(String(directories++))
  mkdirSync(path)
  chmodSync(path, 0o777)
  return path
}

interface Lived {
  code: number | null
  signal: NodeJS.Signals | null
  said: unknown
}

/** Runs a scenario to its end; a crash or a hang is an end by a signal. */
async function lives(scenario: string, { flags = [] as string[], env = {} } = {}): Promise<Lived> {
  const { code, signal, stdout, stderr } = await command(
    process.execPath,
    [...flags, program, scenario, fresh()],
    env,
  )
  if (code !== 0) process.stderr.write(stderr)
  return { code, signal, said: stdout === '' ? undefined : JSON.parse(stdout) }
}

const well = (said: unknown): Lived => ({ code: 0, signal: null, said })

/** Ended, whether or not the one who inherits orphans reaps them. */
async function dead(pid: number): Promise<void> {
  while (existsSync(`/proc/${String(pid)}`)) {
    try {
      if (stat(pid)[0] === 'Z') return
    } catch {
      return
    }
    await sleep(5)
  }
}

/** Ends what a program has left running, having made sure that it is that. */
async function endSleeper(pid: number): Promise<void> {
  expect(strings(pid, 'cmdline')).toEqual(['sleep', '100'])
  process.kill(pid, 'SIGKILL')
  await dead(pid)
}

describe('a Worker', () => {
  test('may be the first to load the addon, and end, and another after it', async () => {
    expect(await lives('first')).toEqual(well(['worker\n', 'worker\n', 'main\n']))
  })

  test('does not get the events of others', async () => {
    expect(await lives('concurrent')).toEqual(well(Array(100).fill(5)))
  })

  test('that is terminated leaves its children running, and they are reaped', async () => {
    expect(await lives('terminated')).toEqual(well({ alive: [true, true, true], waited: true }))
  })

  test('that exits does, too', async () => {
    expect(await lives('exited')).toEqual(well({ alive: [true, true, true], waited: true, code: 3 }))
  })

  on({ user: 'ordinary', userns: true }).test(
    'that is terminated ends those who wait for its answer',
    async () => {
      const bin = fresh()
      // It never writes the map.
      const tell = 'printf "%s" "$$ $1" >"$0.new" && mv "$0.new" "${0%/*}/pids"'
      writeFileSync(`${bin}/newuidmap`, `#!/bin/sh\n${tell}; exec sleep 100\n`)
      chmodSync(`${bin}/newuidmap`, 0o755)
      const { code, said } = await lives('held', { env: { PATH: `${bin}:${process.env['PATH'] ?? ''}` } })
      expect({ code, said }).toEqual({
        code: 0,
        said: { tool: expect.any(Number), child: expect.any(Number) },
      })
    },
  )
})

on({ userns: true }).test('steps that send more descriptors than there is room for fail', async () => {
  const limited = ['-c', 'ulimit -n 192; exec "$0" "$@"', process.execPath, program, 'full']
  const { code, stdout } = await command('sh', limited)
  expect([code, stdout]).toEqual([0, '["recvmsg EMFILE","recvmsg EMFILE","on\\n"]\n'])
})

describe('garbage collection', () => {
  const flags = ['--expose-gc']

  test('takes processes that have ended, and closes their pidfds', async () => {
    const { code, said } = await lives('collected', { flags })
    expect(code).toBe(0)
    expect(said).toHaveLength(20)
    expect((said as string[])[0]).toContain('pidfd')
  })

  test('takes none that runs: its end is told', async () => {
    expect(await lives('forgotten', { flags })).toEqual(well([0]))
  })
})

describe('the event loop', () => {
  test('ends without waiting for a process that was unref()ed', async () => {
    const { code, said } = await lives('unref')
    expect(code).toBe(0)
    await endSleeper(said as number)
  })

  test('waits for one that was ref()ed again', async () => {
    expect(await lives('ref')).toEqual(well(0))
  })
})

describe('when this process ends', () => {
  const end = async (
    how: 'exit' | 'kill',
  ): Promise<{ ended: unknown[]; running: number; setup: number[] }> => {
    const args = [program, 'leave', fresh(), facts.userns ? 'clone' : '', how]
    const node = spawnNode(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: patient(25_000),
    })
    const ended = once(node, 'exit')
    const [line] = (await once(createInterface(node.stdout), 'line')) as [string]
    const { running, setup } = JSON.parse(line) as { running: number; setup: number[] }
    expect(setup.length).toBeGreaterThan(0)
    if (how === 'kill') node.kill('SIGKILL')
    return { ended: await ended, running, setup }
  }

  test.each(['exit', 'kill'] as const)('by %s, who is in his setup dies, who runs goes on', async (how) => {
    const { ended, running, setup } = await end(how)
    expect(ended).toEqual(how === 'exit' ? [7, null] : [null, 'SIGKILL'])
    await Promise.all(setup.map(dead))
    await endSleeper(running)
  })
})

describe('process.setuid()', () => {
  on({ user: 'root', userns: true }).test(
    'waits for no spawner, and spawns go on without being dumpable',
    async () => {
      expect(await lives('setuid')).toEqual(
        well({
          // It is root's now, as Node is not dumpable.
          owner: 0,
          plain: ['12345', '12345'],
          mapped: ['0', '0'],
          cloned: ['3', '4'],
        }),
      )
    },
  )
})

test('two copies of this module in one environment know their own processes only', async () => {
  const one = await import('fancyproc')
  jest.resetModules()
  const other = await import('fancyproc')
  expect(one.spawn).not.toBe(other.spawn)
  const copies = Array.from({ length: scaled(10) }, () => [one, other]).flat()
  const children = copies.map(({ spawn }, i) => spawn('sh', ['-c', `exit ${String(i)}`], { stdio: 'ignore' }))
  const sleeper = one.spawn('sleep', ['1000'], { stdio: 'ignore' })
  const ends = await Promise.all(children.map((child) => child.exited))
  expect(ends.map(({ code }) => code)).toEqual(copies.map((_, i) => i))
  expect(sleeper.kill('SIGINT')).toBe(true)
  await sleeper.exited
})
