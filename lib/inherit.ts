// What else of a process a new one may have: what execve(2) does not take from the namespaces.
import { constants, readFileSync } from 'node:fs'
import { posix } from 'node:path'
import { apparmor } from './apparmor.ts'
import { readAtMost } from './bounded.ts'
import { errnoNumber, invalid, KernelError, show } from './errors.ts'
import { Fd, openFd } from './fd.ts'
import { parseMountinfo } from './mountinfo.ts'
import { native } from './native.ts'
import type { Pinned } from './pinned.ts'
import { enabled as selinuxEnabled, requireSelinux } from './selinux/enabled.ts'
import type { Step } from './step.ts'
import { aaChangeOnexec } from './steps/apparmor.ts'
import { allCapabilities, capset, dropBounding, raiseAmbient } from './steps/capability.ts'
import { chroot, fchdir } from './steps/directory.ts'
import { setgroups, setresgid, setresuid } from './steps/identity.ts'
import { prctl, setNoNewPrivs } from './steps/process.ts'
import { setexeccon } from './steps/selinux.ts'

const inheritable = [
  'cgroup', 'root', 'cwd', 'env', 'ids', 'capabilities', 'no_new_privs', 'label',
] as const // prettier-ignore

/**
 * Of the target: its cgroup of the v2 hierarchy; root and working directory; environment; uids, gids and groups; bounding and
 * other sets of capabilities; no_new_privs; SELinux context or AppArmor profile.
 */
export type Inherited = (typeof inheritable)[number]

const O_PATH = 0o1000_0000

export function checkInherit(value: unknown): readonly Inherited[] {
  if (value === undefined) return []
  if (!Array.isArray(value)) throw invalid('join.inherit', `expected an array, got ${show(value)}`)
  for (const [i, word] of value.entries()) {
    if (!inheritable.includes(word as Inherited))
      throw invalid(`join.inherit[${String(i)}]`, `no ${show(word)}; known are ${inheritable.join(', ')}`)
  }
  return value as Inherited[]
}

/** Of /proc/PID/status. */
function fields(status: string): Map<string, string> {
  const lines = status.split('\n').map((line) => line.split(':\t', 2) as [string, string])
  return new Map(lines)
}

/** What a spawn would have. */
function ownStatus(): Map<string, string> {
  return fields(readFileSync(`/proc/self/task/${String(native().identity())}/status`, 'latin1'))
}

const numbers = (text = ''): number[] => text.split(/\s+/).filter(Boolean).map(Number)
const same = (a: readonly number[], b: readonly number[]): boolean => String(a) === String(b)

function open(process: Pinned, file: string): Fd {
  return process.look(file, (path) => new Fd(openFd(path, O_PATH | constants.O_DIRECTORY), file))
}

/** Its directories, while they can be named; steps that go there. */
export function directories(process: Pinned, wanted: readonly Inherited[], opened: Fd[]): Step[] {
  const steps: Step[] = []
  for (const name of ['root', 'cwd'] as const) {
    if (!wanted.includes(name)) continue
    const directory = open(process, name)
    opened.push(directory)
    steps.push(fchdir(directory), ...(name === 'root' ? [chroot('.')] : []))
  }
  return steps
}

/** Ids of its user namespace, for those that we see. */
function idMap(process: Pinned, kind: 'uid' | 'gid'): (id: number) => number {
  const lines = process.look(`${kind}_map`, (path) => readFileSync(path, 'latin1')).split('\n')
  const ranges = lines.map(numbers)
  return (id) => {
    for (const [inside = 0, outside = 0, count = 0] of ranges)
      if (id >= outside && id < outside + count) return inside + id - outside
    throw new KernelError({
      errno: errnoNumber('EINVAL') ?? 22,
      syscall: `setres${kind}`,
      path: String(id),
      hint: `process ${String(process.pid)} has a ${kind} that its user namespace does not map, so no other can take it`,
    })
  }
}

/** Those that are ours already are left out: they need not be mapped. */
function ids(process: Pinned, theirs: Map<string, string>, entersUser: boolean): Step[] {
  const ours = ownStatus()
  const changed = (field: string): number[] | undefined => {
    const [mine, wanted] = [numbers(ours.get(field)), numbers(theirs.get(field))]
    return same(mine, wanted) ? undefined : wanted
  }
  const inside = (kind: 'uid' | 'gid', list: number[]): number[] =>
    entersUser ? list.map(idMap(process, kind)) : list
  const [groups, gids, uids] = [changed('Groups'), changed('Gid'), changed('Uid')]
  const steps: Step[] = []
  if (groups) steps.push(setgroups(inside('gid', groups)))
  if (gids) steps.push(setresgid(...three(inside('gid', gids))))
  if (uids) steps.push(setresuid(...three(inside('uid', uids))))
  return steps
}

const three = ([real = 0, effective = 0, saved = 0]: number[]): [number, number, number] => [
  real,
  effective,
  saved,
]

interface Sets {
  bounding: Step[]
  rest: Step[]
}

function capabilities(theirs: Map<string, string>, entersUser: boolean): Sets {
  const set = (status: Map<string, string>, name: string): bigint => BigInt(`0x${status.get(name) ?? '0'}`)
  // A user namespace that is entered gives all.
  const ours = entersUser ? allCapabilities() : set(ownStatus(), 'CapBnd')
  return {
    bounding: dropBounding(ours & ~set(theirs, 'CapBnd')),
    rest: [
      capset(set(theirs, 'CapEff'), set(theirs, 'CapPrm'), set(theirs, 'CapInh')),
      ...raiseAmbient(set(theirs, 'CapAmb')),
    ],
  }
}

function label(process: Pinned): Step {
  const read = (file: string): string =>
    process.look(file, (path) => readFileSync(path, 'utf8')).replace(/[\0\n]+$/, '')
  if (apparmor.enabled() && !selinuxEnabled()) {
    return aaChangeOnexec(read('attr/apparmor/current').replace(/ \(\w+\)$/, ''))
  }
  requireSelinux()
  return setexeccon(read('attr/current'))
}

/** Steps that make it like the target, in the order in which one needs the privilege that another gives up. */
export function becoming(process: Pinned, wanted: readonly Inherited[], entersUser: boolean): Step[] {
  const theirs = fields(process.look('status', (path) => readFileSync(path, 'latin1')))
  const sets = wanted.includes('capabilities') ? capabilities(theirs, entersUser) : { bounding: [], rest: [] }
  const identity = wanted.includes('ids') ? ids(process, theirs, entersUser) : []
  const keep = sets.rest.length > 0 && identity.some(({ operation }) => operation === 'setresuid')
  return [
    ...sets.bounding,
    ...(keep ? [prctl('PR_SET_KEEPCAPS', 1)] : []),
    ...identity,
    ...sets.rest,
    ...(wanted.includes('no_new_privs') && theirs.get('NoNewPrivs') === '1' ? [setNoNewPrivs()] : []),
    ...(wanted.includes('label') ? [label(process)] : []),
  ]
}

/** env_start in /proc/PID/stat, counted from the state. */
const ENV_START = 47

/** _STK_LIM / 4 * 3: whatever RLIMIT_STACK is. A process may name any memory of its own as its environment. */
const MOST_ENVIRONMENT = 6 << 20

/** The kernel notes where the environment begins at the end of execve: a moment after the program may be seen to run. */
function isInExecve(process: Pinned): boolean {
  const stat = process.look('stat', (path) => readFileSync(path, 'latin1'))
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[ENV_START] === '0'
}

/** What is empty may be so only for now; a process that is frozen there is not waited for. */
function readEnvironment(process: Pinned): Buffer | undefined {
  let over = false
  for (let tries = 0; ; tries++) {
    const bytes = process.look('environ', (path) => readAtMost(path, MOST_ENVIRONMENT))
    if (bytes?.length !== 0 || over) return bytes
    // Its execve may have come to its end since: then it is read once more.
    over = !isInExecve(process)
    if (over) continue
    if (tries === 50) {
      throw new KernelError({
        errno: errnoNumber('EAGAIN') ?? 11,
        syscall: 'read',
        path: `/proc/${String(process.pid)}/environ`,
        hint: 'it is in the middle of execve',
      })
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
  }
}

/** Its environment, as it was at its execve unless it has changed that itself. */
export function environmentOf(process: Pinned): Record<string, string> {
  const bytes = readEnvironment(process)
  if (bytes === undefined) {
    throw new KernelError({
      errno: errnoNumber('E2BIG') ?? 7,
      syscall: 'read',
      path: `/proc/${String(process.pid)}/environ`,
      hint: 'its environment is larger than execve takes',
    })
  }
  const text = bytes.toString('utf8')
  if (!Buffer.from(text).equals(bytes)) throw invalid('join.inherit', 'its environment is not UTF-8')
  const pairs = text.split('\0').filter((pair) => pair.indexOf('=') > 0)
  return Object.fromEntries(
    pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
  )
}

/** Its cgroup in the v2 hierarchy; undefined where a spawn is in it anyway. */
export function cgroupOf(process: Pinned): Fd | undefined {
  const line = (text: string): string | undefined => /^0::(\/.*)$/m.exec(text)?.[1]
  const read = (path: string): string => readFileSync(path, 'utf8')
  const path = line(process.look('cgroup', read))
  if (path === undefined)
    throw missing('this kernel has no v2 hierarchy (no line 0::)', `/proc/${String(process.pid)}/cgroup`)
  if (path === line(read('/proc/self/cgroup'))) return undefined
  for (const { type, root, mountPoint } of parseMountinfo(read('/proc/self/mountinfo'))) {
    const relative = posix.relative(root, path)
    if (type !== 'cgroup2' || relative.startsWith('..')) continue
    const directory = posix.join(mountPoint, relative)
    try {
      return new Fd(openFd(directory, O_PATH | constants.O_DIRECTORY), directory)
    } catch {
      throw missing('its cgroup has been removed, or something is mounted over it', directory)
    }
  }
  throw missing('its cgroup lies outside of what is mounted here', path)
}

function missing(hint: string, path: string): KernelError {
  return new KernelError({ errno: errnoNumber('ENOENT') ?? 2, syscall: 'open', path, hint })
}
