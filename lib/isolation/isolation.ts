// What sets one process apart from another.
import { readFileSync, readlinkSync, statSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { errnoNumber, invalid, KernelError, show } from '../errors.ts'
import { type Mount, mountinfoAt } from '../mountinfo.ts'
import { pin, type Pinned, type ProcessLike } from '../pinned.ts'
import type { CapabilitySets, Seccomp } from '../processes/info.ts'
import { ps } from '../ps.ts'
import { options as checkOptions } from '../steps/arguments.ts'
import type { IdRange } from '../steps/identity.ts'
import { type Namespace, namespaces as kinds } from '../steps/namespace.ts'
import { capabilityNames } from './capabilities.ts'
import { type Limits, limitsOf } from './limits.ts'

/** Of the process, and of the one it is compared with; undefined is what the kernel does not tell us, or has not. */
export interface Compared<T> {
  readonly value: T | undefined
  readonly from: T | undefined
  /** Undefined when one of the two is not known. */
  readonly differs: boolean | undefined
}

/** Its root directory. */
export interface Root {
  /** As we would name it; '/' when it is ours, or lies in another mount namespace. */
  readonly path: string
  readonly device: number
  readonly inode: number
}

/** What sets a process apart, by the kernel's names. */
export interface Isolation {
  readonly pid: number
  /** The pid of the one that it is compared with. */
  readonly from: number
  /** Inodes. */
  readonly namespaces: Readonly<Record<Namespace, Compared<number>>>
  /** In the v2 hierarchy. */
  readonly cgroup: Compared<string>
  /** In force, of its own cgroup or one above; by the interface file. */
  readonly limits: Compared<Limits>
  /** SELinux's context, AppArmor's profile; none without such a module. */
  readonly label: Compared<string>
  readonly capabilities: Compared<CapabilitySets>
  /** Capabilities that the other has in its effective set, and this one has not. */
  readonly droppedCapabilities: readonly string[]
  readonly seccomp: Compared<Seccomp>
  readonly noNewPrivs: Compared<boolean>
  /** False on a kernel without it. Whether it restricts a process the kernel tells nobody: undefined. */
  readonly landlock: false | undefined
  readonly root: Compared<Root>
  /** Ids of its user namespace, beside ours. */
  readonly uidMap: Compared<readonly IdRange[]>
  readonly gidMap: Compared<readonly IdRange[]>
  /** Mounts that it sees and the other does not. */
  readonly mounts: readonly Mount[] | undefined
}

export interface IsolationOptions {
  /** The one to compare with: pid 1, or where that may not be looked at, ourselves. */
  from?: ProcessLike | undefined
}

const fields = ['pid', 'namespaces', 'cgroup', 'label', 'capabilities', 'seccomp', 'noNewPrivs'] as const

/** What may not be looked at is not known. */
function unknown(error: unknown): undefined {
  if (error instanceof KernelError && ['EACCES', 'EPERM', 'ENOENT', 'EINVAL'].includes(error.code)) return
  throw error
}

function allowed<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch (error) {
    unknown(error)
    return undefined
  }
}

function rootOf(process: Pinned): Root | undefined {
  return allowed(() =>
    process.look('root', (path) => {
      const { dev, ino } = statSync(path)
      return { path: readlinkSync(path), device: dev, inode: ino }
    }),
  )
}

function mapOf(process: Pinned, file: 'uid_map' | 'gid_map'): IdRange[] | undefined {
  const text = allowed(() => process.look(file, (path) => readFileSync(path, 'latin1')))
  return text
    ?.split('\n')
    .filter(Boolean)
    .map((line) => {
      const [inside = NaN, outside = NaN, count = NaN] = line.trim().split(/\s+/).map(Number)
      return { inside, outside, count }
    })
}

async function factsOf(process: Pinned) {
  const { pid } = process
  const [[info], limits, mounts] = await Promise.all([
    ps({ fields, pids: [pid] }),
    limitsOf(pid),
    process.lookLater('mountinfo', (path) => mountinfoAt(path, pid)).catch(unknown),
  ])
  const facts = {
    limits,
    root: rootOf(process),
    uidMap: mapOf(process, 'uid_map'),
    gidMap: mapOf(process, 'gid_map'),
    mounts,
  }
  // It is still there, so all of that was its own.
  process.look('stat', (path) => readFileSync(path))
  if (info === undefined) {
    const hint = `process ${String(pid)} has ended`
    throw new KernelError({
      errno: errnoNumber('ESRCH') ?? 3,
      syscall: 'open',
      path: `/proc/${String(pid)}`,
      hint,
    })
  }
  return { ...info, ...facts }
}

type Facts = Awaited<ReturnType<typeof factsOf>>

export function compare<T>(value: T | undefined, from: T | undefined): Compared<T> {
  const known = value !== undefined && from !== undefined
  return { value, from, differs: known ? !isDeepStrictEqual(value, from) : undefined }
}

/** A mount namespace's copy of a mount has another id, and is the same mount otherwise. */
function ownMounts({ mounts }: Facts, { mounts: others }: Facts): Mount[] | undefined {
  if (mounts === undefined || others === undefined) return undefined
  const identity = ({ device, root, mountPoint }: Mount): string => [device, root, mountPoint].join('\0')
  const seen = new Set(others.map(identity))
  return mounts.filter((mount) => !seen.has(identity(mount)))
}

function landlock(): false | undefined {
  try {
    const modules = readFileSync('/sys/kernel/security/lsm', 'latin1').trim().split(',')
    return modules.includes('landlock') ? undefined : false
  } catch {
    return undefined
  }
}

function isolationOf(its: Facts, other: Facts): Isolation {
  const both = <K extends keyof Facts>(key: K): Compared<Exclude<Facts[K], undefined>> =>
    compare<unknown>(its[key], other[key]) as Compared<Exclude<Facts[K], undefined>>
  const dropped = other.capabilities.effective & ~its.capabilities.effective
  return {
    pid: its.pid,
    from: other.pid,
    namespaces: Object.fromEntries(
      kinds.map((kind) => [kind, compare(its.namespaces[kind], other.namespaces[kind])]),
    ) as Record<Namespace, Compared<number>>,
    cgroup: both('cgroup'),
    limits: both('limits'),
    label: both('label'),
    capabilities: both('capabilities'),
    droppedCapabilities: capabilityNames(dropped),
    seccomp: both('seccomp'),
    noNewPrivs: both('noNewPrivs'),
    landlock: landlock(),
    root: both('root'),
    uidMap: both('uidMap'),
    gidMap: both('gidMap'),
    mounts: ownMounts(its, other),
  }
}

/** Process 1, or ourselves where its namespaces may not be looked at. */
function reference(): Pinned | undefined {
  try {
    const first = pin(1, 'isolation: from')
    if (first && allowed(() => first.look('ns/mnt', readlinkSync)) !== undefined) return first
    first?.close()
  } catch (error) {
    if (!(error instanceof KernelError)) throw error
  }
  return pin(process.pid, 'isolation: from')
}

/**
 * `/proc/PID/ns`, `status`, `cgroup`, `mountinfo`, `attr` and the like: what sets a process apart from another one, whoever
 * started the two: namespaces, cgroup and limits, label, capabilities, filters, root, id maps, mounts. The process is a pid, a pidfd, or what has one. Both are held meanwhile, so that nothing is
 * of another process that was given the pid.
 *
 * Acts on: nothing. Needs no privilege; what this user may not look at is undefined: that of others takes CAP_SYS_PTRACE.
 *
 * | errno | when |
 * |-------|------|
 * | ESRCH | one of the two has ended |
 * | EFBIG | the list of mounts of one of them is longer than 32 MiB |
 *
 * Since Linux 5.10. See `man 5 proc`, `man 7 namespaces`.
 */
export async function isolation(target: ProcessLike, options: IsolationOptions = {}): Promise<Isolation> {
  const { from } = checkOptions<IsolationOptions>(options, 'isolation', ['from'])
  const its = pin(target, 'isolation: process')
  if (its === undefined) throw invalid('isolation: process', `expected a pid or a pidfd, got ${show(target)}`)
  let other: Pinned | undefined
  try {
    other = from === undefined ? reference() : pin(from, 'isolation: from')
    if (other === undefined) throw invalid('isolation: from', `expected a pid or a pidfd, got ${show(from)}`)
    return isolationOf(await factsOf(its), await factsOf(other))
  } finally {
    its.close()
    other?.close()
  }
}
