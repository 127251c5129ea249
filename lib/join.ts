// Where to go: the steps that join the namespaces of a process, or namespaces by their descriptors.
import { fstatSync, statSync } from 'node:fs'
import { check, errnoName, invalid, show } from './errors.ts'
import { Fd, type FdLike, fdNumber, isFdLike } from './fd.ts'
import { native } from './native.ts'
import { becoming, cgroupOf, checkInherit, directories, environmentOf, type Inherited } from './inherit.ts'
import { linkOf, pin, type Pinned, type ProcessLike } from './pinned.ts'
import type { Step } from './step.ts'
import { clone, type Namespace, namespaceFlags, namespaces as everyKind, setns } from './steps/namespace.ts'

/**
 * Namespaces one by one: a descriptor of each, or the path where it is pinned. A pidfd stands for the namespace of its
 * process.
 */
export type NamespaceFds = { readonly [Kind in Namespace]?: FdLike | string }

/** Whose namespaces: a process's, the one of a descriptor, or several by their kinds. */
export type Target = ProcessLike | NamespaceFds

export interface JoinOptions {
  target: Target
  /** Which of a process's namespaces; those that we are in are left out. Default: all. */
  namespaces?: readonly Namespace[] | undefined
  /** What else of a process the new one has. Default: nothing. */
  inherit?: readonly Inherited[] | undefined
}

/** Steps that join, and what they use; to be disposed of when the spawn has them. */
export interface JoinSteps {
  /** Into the namespaces, root and working directory. With a pid namespace among them, the last one is a `clone`. */
  readonly enter: readonly Step[]
  /** From then on as the target is: ids, capabilities, no_new_privs, label. To come last. */
  readonly become: readonly Step[]
  /** For the options `cgroup` and `env` of spawn(). */
  readonly cgroup: Fd | undefined
  readonly env: Readonly<Record<string, string>> | undefined
  [Symbol.dispose](): void
}

const CLONE_NEWUSER = 0x1000_0000
const CLONE_NEWPID = 0x2000_0000

/** Which namespace: an inode of nsfs. */
interface Identity {
  dev: bigint
  ino: bigint
}

const same = (a: Identity | undefined, b: Identity): boolean => a?.dev === b.dev && a.ino === b.ino

const identify = (path: string): Identity => statSync(path, { bigint: true })

/** The namespace in which a spawn would begin; undefined where the kernel has none of that kind. */
function own(kind: Namespace): Identity | undefined {
  try {
    return identify(`/proc/self/task/${String(native().identity())}/ns/${kind}`)
  } catch {
    return undefined
  }
}

function ofProcess(process: Pinned, kinds: readonly Namespace[]): Step[] {
  const others = kinds.filter((kind) => {
    const ours = own(kind)
    return ours !== undefined && !same(ours, process.look(`ns/${kind}`, identify))
  })
  return others.length > 0 ? [setns(process.pidfd, others)] : []
}

function kindList(kinds: unknown): readonly Namespace[] {
  if (kinds === undefined) return everyKind
  if (!Array.isArray(kinds)) throw invalid('join.namespaces', `expected an array, got ${show(kinds)}`)
  namespaceFlags(kinds, 'join.namespaces')
  return kinds as Namespace[]
}

/** A user namespace gives the privilege for the others, and in a pid namespace are only later children. */
const place = (kind: Namespace): number => (kind === 'user' ? 0 : kind === 'pid' ? 2 : 1)

function ofFds(target: NamespaceFds, opened: Fd[]): Step[] {
  const kinds = Object.keys(target) as Namespace[]
  const unknown = kinds.find((kind) => !everyKind.includes(kind))
  if (unknown !== undefined)
    throw invalid(`join.${unknown}`, `no such namespace; known are ${everyKind.join(', ')}`)
  kinds.sort((a, b) => place(a) - place(b))
  return kinds.flatMap((kind) => {
    const name = `join.${kind}`
    const value: unknown = target[kind]
    const fd = typeof value === 'string' ? openPinned(value, name, opened) : namespaceFd(value, kind, name)
    return same(own(kind), fstatSync(fd, { bigint: true })) ? [] : [setns(fd, kind)]
  })
}

function openPinned(path: string, argument: string, opened: Fd[]): number {
  if (path === '' || path.includes('\0')) throw invalid(argument, `no path: ${show(path)}`)
  // O_PATH first: nothing but a namespace is opened, be it a FIFO or a device of whoever has made the path.
  const found = native().openNamespace(path)
  const hint =
    errnoName(-found) === 'EINVAL' ? 'this file is no namespace: nothing of nsfs is mounted there' : undefined
  const fd = new Fd(check(found, 'open', { path, hint }), path)
  opened.push(fd)
  return fd.fd
}

function namespaceFd(value: unknown, kind: Namespace, argument: string): number {
  if (!isFdLike(value)) throw invalid(argument, `expected an fd or a path, got ${show(value)}`)
  const fd = fdNumber(value, argument)
  const link = linkOf(fd, argument)
  const other = kindOf(link)
  if (other !== undefined && other !== kind) throw invalid(argument, `this is a namespace of kind ${other}`)
  return fd
}

/** As the link tells; one that was opened where it is pinned has that path. */
function kindOf(link: string): Namespace | undefined {
  return everyKind.find((kind) => link.startsWith(`${kind}:[`))
}

function isOptions(given: unknown): given is JoinOptions {
  return typeof given === 'object' && given !== null && 'target' in given
}

function asFds(target: unknown): NamespaceFds {
  const expected =
    "a pid, a pidfd, a process, a namespace's fd, or namespaces by their kinds as in { net: fd }"
  if (typeof target !== 'object' || target === null || Array.isArray(target))
    throw invalid('join', `expected ${expected}, got ${show(target)}`)
  if (!isFdLike(target)) {
    if (Object.keys(target).length === 0) throw invalid('join', 'no namespaces: {}')
    return target
  }
  const link = linkOf(fdNumber(target, 'join'), 'join')
  const kind = kindOf(link)
  if (kind === undefined)
    throw invalid('join', `what kind of namespace ${link} is has to be said, as in { net: fd }`)
  return { [kind]: target }
}

/**
 * `int setns(int fd, int nstype)` for each namespace, or once for all those of a process, by its pidfd; after a pid
 * namespace, `clone()`. Namespaces that a spawn would begin in are left out: to join them again means nothing, and is an
 * error for one's own user namespace. The process may end meanwhile, and its pid be another's: these steps join the one
 * that was meant or fail with ESRCH.
 *
 * The order of descriptors: 'user' first, since it gives the privilege for the others, 'pid' last. Who needs another one
 * writes `setns` steps himself.
 *
 * Acts on: the child. Needs CAP_SYS_ADMIN in the user namespaces that own the others, which the creator of a user namespace
 * has in it; for a process also the right to look at it.
 *
 * | errno | when |
 * |-------|------|
 * | EACCES, EPERM | the process is another's |
 * | ESRCH | it has ended |
 * | EINVAL | a path leads to no namespace |
 * | ENOENT | there is no such path |
 * | E2BIG | its environment, which is to be inherited, is larger than execve takes (6 MiB) |
 * | EAGAIN | it is in the middle of execve, for longer than a moment, and its environment is to be inherited |
 *
 * Since Linux 5.8, of descriptors 3.0. See `man 2 setns`, `man 7 namespaces`.
 */
export function joinSteps(given: Target | JoinOptions): JoinSteps {
  const { target, namespaces, inherit } = isOptions(given) ? checkKeys(given) : { target: given }
  const kinds = kindList(namespaces)
  const wanted = checkInherit(inherit)
  const process = pin(target, 'join')
  if (!process) requireProcess(namespaces, inherit)
  const opened: Fd[] = []
  const dispose = (): void => {
    process?.close()
    for (const fd of opened) fd.close()
  }
  try {
    const joined = process ? ofProcess(process, kinds) : ofFds(asFds(target), opened)
    const joins = (bit: number): boolean => joined.some(({ args }) => Number(args[1]) & bit)
    const directorySteps = process ? directories(process, wanted, opened) : []
    const enter = [...joined, ...directorySteps, ...(joins(CLONE_NEWPID) ? [clone()] : [])]
    const become = process && wanted.length > 0 ? becoming(process, wanted, joins(CLONE_NEWUSER)) : []
    const env = process && wanted.includes('env') ? environmentOf(process) : undefined
    const cgroup = process && wanted.includes('cgroup') ? cgroupOf(process) : undefined
    if (cgroup) opened.push(cgroup)
    return { enter, become, cgroup, env, [Symbol.dispose]: dispose }
  } catch (error) {
    dispose()
    throw error
  }
}

function checkKeys(options: JoinOptions): JoinOptions {
  for (const key of Object.keys(options)) {
    if (!['target', 'namespaces', 'inherit'].includes(key))
      throw invalid(`join.${key}`, 'no such option; known are target, namespaces, inherit')
  }
  return options
}

function requireProcess(namespaces: unknown, inherit: unknown): void {
  if (namespaces !== undefined)
    throw invalid('join.namespaces', 'is for a process: of descriptors, give those that are wanted')
  if (inherit !== undefined) throw invalid('join.inherit', 'is for a process')
}
