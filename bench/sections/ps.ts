// The process table and the namespaces, among few and many processes: ps() beside ps(1), namespaces() beside lsns(8).
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { namespaces, ps, type ProcessField } from 'fancyproc'
import {
  alone,
  compared,
  type Context,
  inTurns,
  milliseconds,
  missing,
  named,
  type Section,
  type Unnamed,
} from '../measure.ts'
import { fromNode, which } from '../peers.ts'
import { program } from '../programs.ts'

/** What `ps -efZ` shows: LABEL UID PID PPID C STIME TTY TIME CMD. */
const columns: readonly ProcessField[] = [
  ...(['label', 'uid', 'pid', 'ppid', 'started', 'tty'] as const),
  ...(['userCPUTime', 'systemCPUTime', 'args', 'comm', 'state'] as const),
]

export const psSection: Section = async (context) => {
  const rows: Unnamed[] = []
  for (const count of context.quick ? [100, 1000] : [100, 1000, 10_000])
    rows.push(...(await among(count, context)))
  return named('ps', rows)
}

/** So many processes in the section's own pid namespace, as long as it lasts. */
async function crowd(count: number): Promise<AsyncDisposable> {
  const others = readdirSync('/proc').filter((name) => /^\d+$/.test(name)).length
  const child = spawn(program('crowd'), [String(count - others - 1)], { stdio: ['pipe', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  return {
    [Symbol.asyncDispose]: async () => {
      child.stdin.end()
      await once(child, 'exit')
    },
  }
}

/** The longest time in which nothing else could run on this thread, until the work is done. */
async function longestHold(work: () => Promise<unknown>): Promise<number> {
  let [longest, last, done] = [0, performance.now(), false]
  const look = (): void => {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
    if (!done) setImmediate(look)
  }
  setImmediate(look)
  await work()
  done = true
  look()
  return longest
}

async function among(count: number, { rounds }: Context): Promise<Unnamed[]> {
  await using _ = await crowd(count)
  const what = `${count} processes`
  const often = count < 10_000 ? rounds(40, 7) : { count: 20, seconds: 60 }
  const bar = (most: number): { bar?: { most: number } } => (count === 10_000 ? { bar: { most } } : {})
  const listings = {
    columns: () => ps({ fields: columns }),
    everything: () => ps(),
    processes: () => namespaces({ holders: [] }),
    holders: () => namespaces(),
  }
  const [procps, lsns] = [which('ps'), which('lsns')]
  const times = await inTurns<string>(
    often,
    {
      ...Object.fromEntries(Object.entries(listings).map(([name, list]) => [name, () => milliseconds(list)])),
      ...(procps === undefined ? {} : { ps: () => fromNode(procps, ['-efZ']) }),
      ...(lsns === undefined ? {} : { lsns: () => fromNode(lsns, []) }),
    },
    1,
  )
  const holds = await inTurns<string>(
    { ...often, count: Math.ceil(often.count / 2) },
    Object.fromEntries(Object.entries(listings).map(([name, list]) => [name, () => longestHold(list)])),
    1,
  )
  const time = (name: string): number[] => times[name] ?? []
  const held = (name: string, call: string): Unnamed =>
    alone(`${what}: loop held by ${call}`, 'ms', holds[name] ?? [], { bar: { of: 'ours p50', most: 5 } })
  return [
    ...(procps === undefined
      ? [missing(what, 'ps is not installed')]
      : [
          compared(`${what}: ps(), its columns`, 'ms', time('columns'), 'ps -efZ', time('ps'), bar(0.5)),
          compared(`${what}: ps(), all fields`, 'ms', time('everything'), 'ps -efZ', time('ps')),
        ]),
    ...(lsns === undefined
      ? [missing(what, 'lsns is not installed')]
      : [
          compared(
            `${what}: namespaces(), no holders`,
            'ms',
            time('processes'),
            'lsns',
            time('lsns'),
            bar(0.1),
          ),
          compared(`${what}: namespaces()`, 'ms', time('holders'), 'lsns', time('lsns'), bar(0.1)),
        ]),
    held('columns', 'ps(), its columns'),
    held('everything', 'ps(), all fields'),
    held('processes', 'namespaces(), no holders'),
    held('holders', 'namespaces()'),
  ]
}
