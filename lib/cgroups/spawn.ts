// What spawn() asks of a cgroup before anything is started. Synchronous: kernfs answers from memory.
import { closeSync, constants, openSync, readFileSync, readlinkSync, statfsSync } from 'node:fs'
import { isAbsolute } from 'node:path'
import { errnoName, errnoNumber, invalid, KernelError, show } from '../errors.ts'
import { type FdLike, fdNumber, isFdLike } from '../fd.ts'
import { isGone, parseEvents } from './events.ts'
import { CGROUP2_SUPER_MAGIC, kernelError } from './files.ts'

const O_PATH = 0o10000000

/** A cgroup to be born in: a `Cgroup`, an fd of its directory, or the directory's absolute path. */
export type CgroupLike = FdLike | string

export interface SpawnTarget {
  readonly fd: number
  /** Closes what was opened for this; an fd of the caller stays open. */
  close(): void
}

export const openFlags = O_PATH | constants.O_DIRECTORY

/** The fd for CLONE_INTO_CGROUP. */
export function openForSpawn(value: unknown, argument = 'cgroup'): SpawnTarget {
  if (isFdLike(value)) return { fd: fdNumber(value, argument), close: () => undefined }
  if (typeof value !== 'string' || !isAbsolute(value) || value.includes('\0')) {
    throw invalid(argument, `expected a cgroup, an fd or an absolute path, got ${show(value)}`)
  }
  try {
    const fd = openSync(value, openFlags)
    return {
      fd,
      close: () => {
        closeSync(fd)
      },
    }
  } catch (error) {
    throw kernelError(error, {}, { ENOENT: `${argument}: there is no such cgroup` })
  }
}

function refuse(errno: string, path: string, hint: string): KernelError {
  return new KernelError({ errno: errnoNumber(errno) ?? 0, syscall: 'clone3', path, hint })
}

/**
 * Throws where clone3 could not, or should not, put a process into this cgroup: one that was removed (ENOENT), of v1
 * or no cgroup at all (EBADF), 'domain invalid' (EOPNOTSUPP), threaded (EOPNOTSUPP: the kernel would take it, but then
 * cgroup.procs and cgroup.kill don't work), or frozen (EAGAIN: the kernel would take it, and hold the child and the
 * thread that made it until it is thawed). Full ones, and permissions, are left to the kernel: `cloneHint`.
 */
export function assertSpawnable(cgroup: FdLike): void {
  const directory = `/proc/self/fd/${String(fdNumber(cgroup, 'cgroup'))}`
  let path: string
  try {
    path = readlinkSync(directory)
    if (statfsSync(directory).type !== CGROUP2_SUPER_MAGIC) {
      throw refuse('EBADF', path, cloneHint(errnoNumber('EBADF') ?? 0, cgroup) ?? '')
    }
  } catch (error) {
    throw kernelError(error, {}, { ENOENT: 'cgroup: this fd is not open' })
  }
  const read = (file: string): string | undefined => {
    try {
      return readFileSync(`${directory}/${file}`, 'utf8').trim()
    } catch (error) {
      if (isGone(error)) return undefined
      throw kernelError(error, { path: `${path}/${file}` })
    }
  }
  const type = read('cgroup.type')
  if (type === undefined) {
    if (read('cgroup.controllers') !== undefined) return // the root: always a domain, never frozen
    throw refuse('ENOENT', path, 'this cgroup has been removed')
  }
  if (type === 'domain invalid') {
    throw refuse('EOPNOTSUPP', path, cloneHint(errnoNumber('EOPNOTSUPP') ?? 0) ?? '')
  }
  if (type === 'threaded') {
    const hint =
      'it is threaded, where processes can be neither listed nor killed: spawn into the domain above it'
    throw refuse('EOPNOTSUPP', path, hint)
  }
  if (read('cgroup.freeze') === '1' || parseEvents(read('cgroup.events') ?? '').frozen) {
    throw refuse(
      'EAGAIN',
      path,
      'it is frozen, so that the new process would not get as far as its program: thaw() it first',
    )
  }
}

/** What a failed `clone3` with CLONE_INTO_CGROUP most likely means; undefined where the errno says it all. */
export function cloneHint(errno: number, cgroup?: FdLike): string | undefined {
  switch (errnoName(Math.abs(errno))) {
    case 'EBUSY':
      return 'the cgroup has controllers enabled for its children (cgroup.subtree_control), and may then have no processes of its own: spawn into a child of it'
    case 'EACCES':
      return "this needs write permission on cgroup.procs of the cgroup, and of the nearest one above both it and the caller's own: start the caller inside the delegated subtree"
    case 'EOPNOTSUPP':
      return "the cgroup's type is 'domain invalid': it is beside or below a threaded one, and not threaded itself"
    case 'EAGAIN':
      return fullHint(cgroup)
    case 'ENOENT':
    case 'ENODEV':
      return 'the cgroup has been removed'
    case 'EBADF':
      return 'the fd is not open, or not that of a directory of cgroup2: a v1 hierarchy can not be spawned into'
    case 'ENOSYS':
      return "clone3 is denied: most likely by the seccomp profile of a container that is older than it (docker before 20.10.10 without '--security-opt seccomp=unconfined')"
    default:
      return undefined
  }
}

function fullHint(cgroup: FdLike | undefined): string {
  const rest = 'RLIMIT_NPROC, or pids.max of a cgroup above, is reached'
  try {
    const directory = `/proc/self/fd/${String(fdNumber(cgroup ?? -1, 'cgroup'))}`
    const [current, max] = ['current', 'max'].map((file) =>
      readFileSync(`${directory}/pids.${file}`, 'utf8').trim(),
    )
    if (max !== 'max' && Number(current) >= Number(max)) {
      return `the cgroup is full: pids.current is ${String(current)}, pids.max ${String(max)}`
    }
    return rest
  } catch {
    return rest
  }
}
