// Launch to exit of an isolated static program: six namespaces, a root of its own, a fresh procfs; and what others take.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { spawn } from 'fancyproc'
import { alone, compared, inTurns, named, type Row, type Section } from '../measure.ts'
import { enter, fromNode, has, isolated, Limit, makeRoot, ours } from '../programs.ts'

type Contestants = Record<string, () => Promise<number>>

/** An OCI bundle without a terminal, made to do what the others do. */
function bundle(root: string): string {
  const directory = `${root}-bundle`
  mkdirSync(directory)
  const config = {
    ociVersion: '1.0.2',
    process: { user: { uid: 0, gid: 0 }, args: ['/true'], cwd: '/', env: [] },
    root: { path: root },
    mounts: [{ destination: '/proc', type: 'proc', source: 'proc' }],
    linux: {
      namespaces: ['pid', 'network', 'ipc', 'uts', 'mount', 'cgroup'].map((type) => ({ type })),
    },
  }
  writeFileSync(join(directory, 'config.json'), JSON.stringify(config))
  return directory
}

/** What users take now, started by `child_process`. */
function peers(root: string): Contestants {
  const all: [program: string, args: (round: number) => string[]][] = [
    ['bwrap', () => ['--unshare-all', '--bind', root, '/', '--proc', '/proc', '/true']],
    ['unshare', () => ['-mpniuC', '--fork', `--root=${root}`, '/true']],
  ]
  if (process.getuid?.() === 0) {
    const directory = bundle(root)
    const id = (round: number): string => `fancyproc-bench-${String(process.pid)}-${String(round)}`
    all.push(['runc', (round) => ['run', '--bundle', directory, id(round)]])
    all.push(['crun', (round) => ['run', '--bundle', directory, id(round)]])
    const quiet = ['--quiet', '--register=no', '--keep-unit', '--private-network', '--as-pid2']
    all.push(['systemd-nspawn', () => [...quiet, '-D', root, '/true']])
  }
  return Object.fromEntries(
    all
      .filter(([program]) => has(program))
      .map(([program, args]) => {
        let round = 0
        return [program, () => fromNode(program, args(round++))]
      }),
  )
}

/** Those that work on this machine. */
async function working(contestants: Contestants): Promise<{ able: Contestants; failed: string[] }> {
  const able: Contestants = {}
  const failed: string[] = []
  for (const [name, launch] of Object.entries(contestants)) {
    await launch().then(
      () => (able[name] = launch),
      (error: unknown) => failed.push(`${name}: ${String(error)}`),
    )
  }
  return { able, failed }
}

/** CPU of a launch: of the child and all threads here. */
async function cpuTime(launch: () => Promise<{ usage: Used | undefined }>): Promise<number> {
  const before = process.cpuUsage()
  const { usage } = await launch()
  const { user, system } = process.cpuUsage(before)
  return (user + system + (usage?.userCPUTime ?? NaN) + (usage?.systemCPUTime ?? NaN)) / 1e3
}

interface Used {
  userCPUTime: number
  systemCPUTime: number
}

const bars: Readonly<Record<string, number>> = { 'C, same calls': 1.15, bwrap: 0.5, runc: 0.1 }

export const launch: Section = async ({ rounds }) => {
  using root = makeRoot()
  using limit = new Limit(root.path)
  const options = { ...isolated, steps: [enter(root.path)] }
  const { able, failed } = await working(peers(root.path))
  const wall = await inTurns(rounds(300, 60), {
    fancyproc: () => ours(options),
    'C, same calls': async () => (await limit.launch()).wall,
    'child_process, no isolation': () => fromNode(join(root.path, 'true'), []),
  })
  const rows = ['C, same calls', 'child_process, no isolation'].map((name) =>
    compared('launch to exit', 'ms', wall.fancyproc, name, wall[name as keyof typeof wall], {
      ...(bars[name] === undefined ? {} : { bar: { most: bars[name] } }),
    }),
  )
  for (const [name, theirs] of Object.entries(able)) {
    const times = await inTurns(rounds(60, 10), { fancyproc: () => ours(options), theirs })
    const most = bars[name]
    rows.push(
      compared('launch to exit', 'ms', times.fancyproc, `${name}, from child_process`, times.theirs, {
        ...(most === undefined ? {} : { bar: { most } }),
      }),
    )
  }
  for (const failure of failed)
    rows.push(alone('launch to exit', 'ms', [], { note: `not measured: ${failure}` }))
  const cpu = await inTurns(rounds(300, 60), {
    fancyproc: () => cpuTime(() => spawn('/true', [], options).exited),
    limit: async () => (await limit.launch()).cpu,
  })
  rows.push(
    compared('CPU of a launch', 'ms', cpu.fancyproc, 'C, same calls', cpu.limit, { bar: { most: 1.25 } }),
  )
  return named('launch', rows) satisfies Row[]
}
