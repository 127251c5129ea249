// What a spawn must leave behind (nothing), and what it must not change (its parent), as values for toEqual.
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { constants } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'

import { facts, patient } from './machine.ts'

/** For what may vanish between the listing and the look. */
function attempt<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch {
    return undefined
  }
}

const read = (path: string): string => attempt(() => readFileSync(path, 'utf8').trim()) ?? ''

function links(directory: string): Record<string, string> {
  const entries = readdirSync(directory).map((name) => [
    name,
    attempt(() => readlinkSync(join(directory, name))),
  ])
  return Object.fromEntries(entries.filter(([, target]) => target !== undefined)) as Record<string, string>
}

function openFiles(): Record<string, string> {
  const files = Object.entries(links('/proc/self/fd'))
  return Object.fromEntries(files.filter(([, target]) => !/^\/proc\/\d+\/fd$/.test(target)))
}

function children(): string[] {
  const found: string[] = []
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const stat = read(`/proc/${pid}/stat`)
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (Number(parent) === process.pid) found.push(`${pid} ${state ?? ''} ${read(`/proc/${pid}/comm`)}`)
  }
  return found
}

/** Directories of the v2 hierarchy whose name carries our pid. */
function cgroups(directory = facts.cgroupRoot): string[] {
  if (directory === undefined) return []
  const ours = new RegExp(`(^|\\D)${String(process.pid)}(\\D|$)`)
  const below = attempt(() => readdirSync(directory, { withFileTypes: true })) ?? []
  return below
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join(directory, name))
    .flatMap((path) => [...(ours.test(basename(path)) ? [path] : []), ...cgroups(path)])
}

/** The addon's; without the spawners, of which there come to be more when all are busy. Node's own come and go. */
function threads(): number {
  const names = readdirSync('/proc/self/task').map((task) => read(`/proc/self/task/${task}/comm`))
  return names.filter((name) => name.startsWith('fancyproc:') && name !== 'fancyproc:spawn').length
}

export interface Leaks {
  fds: Record<string, string>
  threads: number
  children: string[]
  mounts: string[]
  cgroups: string[]
}

/** Take it once the addon's threads and libuv's run, so after a first spawn. */
export function leaks(): Leaks {
  return {
    fds: openFiles(),
    threads: threads(),
    children: children(),
    mounts: read('/proc/self/mountinfo').split('\n'),
    cgroups: cgroups(),
  }
}

/** The state once it equals `before`, or as it is after two seconds: `expect(await settled(before)).toEqual(before)`. */
export async function settled(before: Leaks, milliseconds = 2000): Promise<Leaks> {
  const end = Date.now() + patient(milliseconds)
  let now = leaks()
  while (!isDeepStrictEqual(now, before) && Date.now() < end) {
    await sleep(10)
    now = leaks()
  }
  return now
}

const STATUS =
  /^(Umask|Uid|Gid|Groups|NStgid|Sig(Blk|Ign|Cgt)|Cap...|NoNewPrivs|Seccomp|Seccomp_filters|THP_enabled|Cpus_allowed)$/

function without(mask: string, signal: number): string {
  return (BigInt(`0x${mask}`) & ~(1n << BigInt(signal - 1))).toString(16)
}

/** What of this process a spawn could change: identity, masks, namespaces, limits, memory flags. */
export function parentState(): Record<string, unknown> {
  const status = read('/proc/self/status')
    .split('\n')
    .map((line) => line.split(/:\s*/, 2))
    .filter(([name = '']) => STATUS.test(name))
    // libuv catches SIGCHLD as long as a child of node:child_process is open, here of an earlier test.
    .map(([name, value = '']) => [
      name,
      name === 'SigCgt' ? without(value, constants.signals.SIGCHLD) : value,
    ])
  const stat = read('/proc/self/stat')
  const [, parent, group, session, terminal, , , , , , , , , , , priority, nice] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
  return {
    ...(Object.fromEntries(status) as Record<string, string>),
    parent,
    group,
    session,
    terminal,
    priority,
    nice,
    cwd: process.cwd(),
    root: readlinkSync('/proc/self/root'),
    namespaces: links('/proc/self/ns'),
    cgroup: read('/proc/self/cgroup'),
    label: read('/proc/self/attr/current'),
    limits: read('/proc/self/limits'),
    // A process that is not dumpable belongs to root.
    owner: statSync('/proc/self/status').uid,
    oomScoreAdj: read('/proc/self/oom_score_adj'),
    coredumpFilter: read('/proc/self/coredump_filter'),
    timerslack: read('/proc/self/timerslack_ns'),
    personality: read('/proc/self/personality'),
    title: read('/proc/self/comm'),
  }
}
