// Who lives where we go tries to get hold of each joiner, in a tight loop, with all the privilege that he has there.
import { beforeAll, expect } from '@jest/globals'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { inNamespaces, joinSteps, type Process, run, spawn } from 'fancyproc'
import {
  chdir,
  keepBounding,
  mapUser,
  mount,
  prctl,
  setPdeathsig,
  type Step,
  type Steps,
} from 'fancyproc/steps'
import { facts, on, scaled } from './support/machine.ts'
import { asleep, fds } from './support/proc.ts'
import { scratch } from './support/scratch.ts'

const path = scratch()
const root = facts.user === 'root'

/** Where the helper is in its memory: it is linked to a fixed address, and what lies there is its own. */
function helper(): [address: string, bytes: string] {
  const file = openSync(new URL('../build/Release/fancyproc-helper', import.meta.url), 'r')
  const header = Buffer.alloc(64)
  readSync(file, header, 0, 64, 0)
  const program = Buffer.alloc(56)
  readSync(file, program, 0, 56, Number(header.readBigUInt64LE(32)))
  const [offset, start] = [program.readBigUInt64LE(8), program.readBigUInt64LE(16)]
  const entry = header.readBigUInt64LE(24)
  const bytes = Buffer.alloc(32)
  readSync(file, bytes, 0, 32, Number(entry - start + offset))
  closeSync(file)
  return [entry.toString(16), bytes.toString('hex')]
}

type Got = Record<'seen' | 'ptrace' | 'mem' | 'vm' | 'exe' | 'exeOpen' | 'fd' | 'getfd' | 'maps', number>

interface Hostile extends AsyncDisposable {
  attacker: Process
  got: () => Promise<Got>
}

/** A sandbox whose first process attacks, until it is asked what it has got. */
async function hostile(user: boolean): Promise<Hostile> {
  const attacker = spawn(path('attacker'), helper(), {
    stdio: ['ignore', 'pipe', 'inherit'],
    namespaces: user ? ['user', 'mnt', 'pid', 'net', 'ipc', 'uts'] : ['mnt', 'pid', 'net', 'ipc', 'uts'],
    steps: [
      setPdeathsig('SIGKILL'),
      user ? mapUser() : keepBounding(0xa80425fbn),
      mount({ source: 'proc', target: '/proc', type: 'proc' }),
    ].flat(),
  })
  let said = ''
  attacker.stdout!.setEncoding('utf8').on('data', (text: string) => (said += text))
  await attacker.spawned
  if (said === '') await once(attacker.stdout!, 'data')
  const got = async (): Promise<Got> => {
    attacker.kill('SIGTERM')
    await once(attacker, 'close')
    return JSON.parse(said.slice('ready\n'.length)) as Got
  }
  return { attacker, got, [Symbol.asyncDispose]: () => attacker[Symbol.asyncDispose]() }
}

/** So that joiners are there for a while: a step takes a microsecond or less. */
const steps = (count: number): Step[] => Array.from({ length: count }, () => chdir('/'))
const window = steps(200)

/** Keeps two of them going. */
async function repeat(count: number, join: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) await join(next++)
  }
  await Promise.all([worker(), worker()])
}

const machine = { tools: 'gcc', ...(root ? {} : { userns: true }), sanitizer: false } as const
const nothing = { ptrace: 0, mem: 0, vm: 0, exe: 0, exeOpen: 0, fd: 0, getfd: 0, maps: 0 }
/** In three cases, two as root and one as an ordinary user: 10,000 joins. FANCYPROC_SCALE=3 makes 10,000 of each. */
const COUNT = scaled(3400)

on(machine).describe('who lives where a joiner goes', () => {
  beforeAll(() => {
    const source = fileURLToPath(new URL('programs/attacker.c', import.meta.url))
    execFileSync('gcc', ['-O1', '-o', path('attacker'), source])
  })

  const cases: [string, Parameters<typeof on>[0], boolean][] = [
    ['root of a user namespace, with all capabilities', { userns: true }, true],
    ['root of the machine, with those that docker leaves', { user: 'root' }, false],
  ]
  for (const [name, needs, user] of cases) {
    on(needs).test(
      `gets nothing of it: ${name}`,
      async () => {
        await using sandbox = await hostile(user)
        const { attacker, got } = sandbox
        const join = { target: attacker, inherit: ['root', 'cwd', 'ids', 'capabilities'] as const }
        await repeat(COUNT, async (i) => {
          if (i % 2) {
            await inNamespaces(attacker, window)
            return
          }
          // The last steps are those that give up privilege: what comes after them is attacked as well.
          using steps = joinSteps(join)
          const list: Steps[] =
            i % 4 ? [steps.enter, window, steps.become] : [steps.enter, steps.become, window]
          await run('true', [], { steps: list, stdio: 'ignore' })
        })
        const { seen, ...rest } = await got()
        expect(seen).toBeGreaterThan(COUNT / 100)
        expect(rest).toEqual(nothing)
      },
      300_000,
    )

    on(needs).test(
      `would get it, were it not for what keeps it out: ${name}`,
      async () => {
        await using sandbox = await hostile(user)
        const { attacker, got } = sandbox
        const join = { target: attacker, inherit: ['capabilities'] as const }
        await repeat(Math.max(100, scaled(200)), async () => {
          using joined = joinSteps(join)
          const list = [joined.enter, joined.become, prctl('PR_SET_DUMPABLE', 1), window]
          await run('true', [], { steps: list, stdio: 'ignore' }).catch(() => undefined)
        })
        const { seen, ...rest } = await got()
        expect(seen).toBeGreaterThan(0)
        for (const [what, count] of Object.entries(rest)) expect([what, count > 0]).toEqual([what, true])
      },
      60_000,
    )
  }
})

on({ ...(root ? {} : { userns: true }) }).test(
  'what was opened of the target is not the program’s',
  async () => {
    const target = await spawn('sleep', ['1000'], {
      stdio: 'ignore',
      namespaces: root ? ['mnt', 'pid'] : ['user', 'mnt', 'pid'],
      steps: root ? [] : mapUser(),
    }).spawned
    const inherit = ['root', 'cwd', 'env', 'ids'] as const
    await using child = await spawn('sleep', ['1000'], { stdio: 'ignore', join: { target, inherit } }).spawned
    await asleep(child.pid)
    expect(Object.keys(fds(child.pid))).toEqual(['0', '1', '2'])
    expect(readdirSync(`/proc/${String(child.pid)}/task`)).toHaveLength(1)
    expect(readFileSync(`/proc/${String(child.pid)}/maps`, 'utf8')).not.toContain('fancyproc')
    await target[Symbol.asyncDispose]()
  },
)
