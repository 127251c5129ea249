// Every namespace that can be found; native/namespaces.cc looks.
import { setImmediate } from 'node:timers/promises'
import { invalid, KernelError, show } from '../errors.ts'
import { native } from '../native.ts'
import { kindOf, type Namespace, namespaceFlags, namespaces as allKinds } from '../steps/namespace.ts'

/** A bind mount of a namespace's file: the path is that in the view of this process. */
export interface NamespaceMount {
  readonly path: string
  readonly pid: number
  /** Inode of the mount namespace that it is in. */
  readonly mountNamespace: number
}

/** A namespace, by its inode. What the kernel does not tell this user is undefined. */
export interface NamespaceInfo {
  readonly kind: Namespace
  readonly inode: number
  /** Never given to another namespace, as an inode is. Since Linux 6.18; of 'mnt' 6.11. */
  readonly id: bigint | undefined
  /** Inode of the user namespace that owns it; of one of 'user', that is its parent. */
  readonly owner: number | undefined
  /** Of 'pid' and 'user': the inode of the one that it is nested in. None for the first, or one outside of ours. */
  readonly parent: number | undefined
  /** Of 'user': who made it, as an id of our own user namespace. */
  readonly uid: number | undefined
  /** Processes in it. */
  readonly pids: readonly number[]
  /** Of 'pid': the same processes, by the pids that they have in there. */
  readonly innerPids: readonly number[] | undefined
  /** Threads that are in it, or whose next child will be, though their process isn't. */
  readonly threads: readonly number[]
  readonly mounts: readonly NamespaceMount[]
  /** Descriptors of it in processes. */
  readonly fds: readonly { readonly pid: number; readonly fd: number }[]
}

/** Numbers that are parsed in one turn of the event loop: a fraction of a millisecond. */
const SLICE = 1 << 14

const holders = { threads: 1, mounts: 2, fds: 4 } as const

/** What holds a namespace beside the processes in it. */
export type NamespaceHolder = keyof typeof holders

export interface NamespacesOptions {
  /** Only these kinds. */
  kinds?: Namespace | readonly Namespace[] | undefined
  /** What else to look at than processes: bind mounts and descriptors, unless told. Threads take as long again. */
  holders?: readonly NamespaceHolder[] | undefined
}

function holderFlags(list: unknown): number {
  if (!Array.isArray(list))
    throw invalid('namespaces: holders', `expected an array of names, got ${show(list)}`)
  return (list as unknown[]).reduce<number>((flags, name, i) => {
    if (typeof name === 'string' && Object.hasOwn(holders, name))
      return flags | holders[name as NamespaceHolder]
    const known = Object.keys(holders).join(', ')
    throw invalid(`namespaces: holders[${String(i)}]`, `no holder ${show(name)}; known are ${known}`)
  }, 0)
}

/**
 * `ioctl_ns(2)`, `listns(2)`, `/proc/PID/ns`: every namespace of the machine that this user can find, by
 * inode: those of processes, those that only a bind mount or an open descriptor holds, those above them, and
 * with `listns` (6.19) those that nobody shows. Of mount namespaces root is told all since 6.12. It is done off
 * JavaScript's thread. What ends meanwhile is left out, and so is what may not be looked at.
 *
 * Acts on: nothing. Needs no privilege; processes of others need CAP_SYS_PTRACE.
 *
 * | errno  | when |
 * |--------|------|
 * | ENOENT | /proc is not mounted |
 * | EMFILE | no descriptor is left |
 *
 * Since Linux 5.10. See `man 7 namespaces`, `man 2 ioctl_ns`.
 */
export async function list(options: NamespacesOptions = {}): Promise<NamespaceInfo[]> {
  if (typeof options !== 'object' || (options as unknown) === null)
    throw invalid('namespaces: options', `expected an object, got ${show(options)}`)
  const unknown = Object.keys(options).find((key) => key !== 'kinds' && key !== 'holders')
  if (unknown !== undefined)
    throw invalid(`namespaces: options.${unknown}`, 'no such option; known are kinds, holders')
  const kinds = namespaceFlags(options.kinds ?? allKinds, 'namespaces: kinds')
  const rows = await native().namespaces(kinds, holderFlags(options.holders ?? ['mounts', 'fds']))
  if (typeof rows === 'number') throw new KernelError({ errno: -rows, syscall: 'open', path: '/proc' })
  return (await parse(rows.numbers, rows.paths)).sort((a, b) => a.inode - b.inode)
}

/** Rows one after the other, with their lists in them. */
async function parse(numbers: Float64Array, paths: readonly string[]): Promise<NamespaceInfo[]> {
  const found: NamespaceInfo[] = []
  let [at, path, slice] = [0, 0, SLICE]
  const next = (): number => numbers[at++] ?? NaN
  const known = (value: number): number | undefined => (value > 0 ? value : undefined)
  const pids = (): number[] => {
    // Not Array.from(), which asks an iterator for each.
    const list = new Array<number>(next())
    for (let i = 0; i < list.length; i++) list[i] = next()
    return list
  }
  while (at < numbers.length) {
    if (at > slice) {
      await setImmediate()
      slice = at + SLICE
    }
    const kind = kindOf(next())
    const [inode, id, owner, parent, uid] = [next(), next(), next(), next(), next()]
    const [members, inner, threads] = [pids(), pids(), pids()]
    const fds = Array.from({ length: next() }, () => ({ pid: next(), fd: next() }))
    const mounts = Array.from({ length: next() }, () => ({
      path: paths[path++] ?? '',
      pid: next(),
      mountNamespace: next(),
    }))
    // A kind that the kernel has and we don't know yet.
    if (kind === undefined) continue
    found.push({
      kind,
      inode,
      id: id > 0 ? BigInt(id) : undefined,
      owner: known(owner),
      parent: known(parent),
      uid: uid < 0 ? undefined : uid,
      pids: members,
      innerPids: kind === 'pid' ? inner : undefined,
      threads,
      mounts,
      fds,
    })
  }
  return found
}
