// Opens a namespace, by whatever names it.
import { constants, fstatSync, statfsSync } from 'node:fs'
import { check, errnoName, errnoNumber, invalid, KernelError, show } from '../errors.ts'
import { fdNumber, isFdLike, openFd } from '../fd.ts'
import { native } from '../native.ts'
import { pin, type Pinned, type ProcessLike } from '../pinned.ts'
import { path as checkPath } from '../steps/arguments.ts'
import { type Namespace, namespaces as kinds } from '../steps/namespace.ts'
import { type NamespaceFd, namespaceFd } from './fd.ts'

const PIDFS_MAGIC = 0x50494446

/** A process; a path, or '1234:5678', a pid and the inode of its pidfd; a descriptor of a namespace. */
export type NamespaceTarget = ProcessLike | string

function checkKind(kind: unknown): Namespace | undefined {
  if (kind === undefined || kinds.includes(kind as Namespace)) return kind as Namespace | undefined
  throw invalid('open: kind', `no kind of namespace: ${show(kind)}; known are ${kinds.join(', ')}`)
}

function ofProcess(process: Pinned, kind: Namespace | undefined): NamespaceFd {
  try {
    if (kind === undefined) throw invalid('open: kind', 'which of its namespaces?')
    return namespaceFd(
      process.look(`ns/${kind}`, (path) => openFd(path, constants.O_RDONLY)),
      kind,
    )
  } finally {
    process.close()
  }
}

/** util-linux's form: the inode of a pidfd is never used again, as the pid is. */
function ofPidAndInode(text: string): Pinned | undefined {
  const [, pid, inode] = /^(\d+):(\d+)$/.exec(text) ?? []
  if (pid === undefined || inode === undefined) return undefined
  const pinned = pin(Number(pid), 'open: target')
  if (pinned === undefined) return undefined
  const { fd } = pinned.pidfd
  const unique = statfsSync(`/proc/self/fd/${String(fd)}`).type === PIDFS_MAGIC
  if (unique && fstatSync(fd, { bigint: true }).ino === BigInt(inode)) return pinned
  pinned.close()
  const [code, hint] = unique
    ? ['ESRCH', `process ${pid} is another one: the inode of its pidfd is not ${inode}`]
    : ['EOPNOTSUPP', 'before Linux 6.9 all pidfds have the same inode']
  throw new KernelError({ errno: errnoNumber(code) ?? 0, syscall: 'pidfd_open', hint })
}

function ofPath(path: string, kind: Namespace | undefined): NamespaceFd {
  const fd = native().openNamespace(checkPath(path, 'open: target'))
  const hint =
    errnoName(-fd) === 'EINVAL' ? 'this file is no namespace: nothing of nsfs is mounted there' : undefined
  return namespaceFd(check(fd, 'open', { path, hint }), kind, path)
}

/**
 * `open("/proc/PID/ns/KIND", O_RDONLY)`: a namespace, to be joined, pinned or asked. The target is a pid, a pidfd, a handle
 * of a process, and then `kind` says which of its namespaces; or a path; or a descriptor of a namespace, which is duplicated.
 * The process is held while that is done, so that it is never a stranger's. '1234:5678', as in util-linux, has the inode of
 * its pidfd, too: the process that had this pid then, or none (Linux 6.9).
 *
 * Acts on: this process. Needs what ptrace(2) needs to read another's process (PTRACE_MODE_READ): the same ids, or
 * CAP_SYS_PTRACE; a path needs nothing.
 *
 * | errno  | when |
 * |--------|------|
 * | EACCES | the process is another user's |
 * | EINVAL | the path leads to no namespace, or to one of another kind |
 * | ENOENT | there is no such path, or the kernel lacks this kind |
 * | ESRCH  | there is no such process |
 *
 * Since Linux 3.8. See `man 7 namespaces`.
 */
export function open(target: NamespaceTarget, kind?: Namespace): NamespaceFd {
  const checked = checkKind(kind)
  if (typeof target === 'string') {
    const process = ofPidAndInode(target)
    return process ? ofProcess(process, checked) : ofPath(target, checked)
  }
  const process = pin(target, 'open: target')
  if (process) return ofProcess(process, checked)
  if (!isFdLike(target))
    throw invalid('open: target', `expected a pid, a path, a pidfd or a namespace, got ${show(target)}`)
  const fd = fdNumber(target, 'open: target')
  return namespaceFd(check(native().dup(fd), 'fcntl'), checked)
}
