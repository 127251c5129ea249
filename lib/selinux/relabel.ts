// A tree of files gets its labels.
import { errnoName, invalid, KernelError, show } from '../errors.ts'
import { native, type RelabelRow } from '../native.ts'
import { boolean, options as checkOptions, path as checkPath } from '../steps/arguments.ts'
import { Context, type ContextLike, contextText } from './context.ts'
import { setHint } from './files.ts'

const types = {
  0o140000: 'socket',
  0o120000: 'symlink',
  0o100000: 'file',
  0o060000: 'block',
  0o040000: 'directory',
  0o020000: 'character',
  0o010000: 'fifo',
} as const

/** What a file is, as fstat(2) of the very file that will get the label has it. */
export interface RelabelStat {
  readonly type: (typeof types)[keyof typeof types]
  /** Permission bits, with set-uid, set-gid and sticky. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly dev: number
  readonly ino: number
  /** More than one: the file has other names too, maybe outside of the tree. */
  readonly nlink: number
  /** What it has now; null for none. */
  readonly label: string | null
}

export interface RelabelCounts {
  /** Files of any kind, directories too. */
  seen: number
  /** Those that had another label, or none. */
  changed: number
  /** Mount points that were left alone. */
  mounts: number
}

/** The label of a file, null to leave it as it is. '/' is the root of the tree, '/etc/passwd' is in it. */
export type ChooseLabel = (path: string, stat: RelabelStat) => ContextLike | null

export interface RelabelOptions {
  /** Ends it: what is labelled by then stays so. */
  signal?: AbortSignal | undefined
  /** Called about ten times a second. */
  onProgress?: ((counts: RelabelCounts) => void) | undefined
  /** Also what is mounted in the tree. */
  crossMounts?: boolean | undefined
}

/** Milliseconds between two reports. */
const PERIOD = 90

function statOf([, label, mode, uid, gid, size, dev, ino, nlink]: RelabelRow): RelabelStat {
  const type = types[(mode & 0o170000) as keyof typeof types]
  return { type, mode: mode & 0o7777, uid, gid, size, dev, ino, nlink, label }
}

function hint(errno: number, syscall: string): string | undefined {
  if (syscall === 'setxattr') return setHint(errno)
  if (errnoName(errno) === 'EMFILE' && syscall === 'openat')
    return 'more than 512 directories one in another, or no descriptor left'
  return undefined
}

/**
 * `fsetxattr(fd, "security.selinux", …)` of each file of a tree: all with the same context, or with what a function
 * chooses: labels are given. What has its label already is left alone, so it can be done again. No symbolic link is
 * followed but `root` itself: links get labels of their own. Each file is labelled by what was opened, so that
 * whoever lives in the tree cannot have others labelled by moving things about; a hard link, though, is the same
 * file outside of the tree. It runs on libuv's pool in turns of a tenth of a second. Since Linux 5.6.
 *
 * Acts on: files below `root`, on one mount unless told; one that vanishes meanwhile is no failure, any other ends
 * it at the first. Needs /proc, and what `setfilecon` needs; works where SELinux is off.
 *
 * | errno      | when |
 * |------------|------|
 * | EINVAL     | the policy knows no such context |
 * | EACCES     | the policy forbids it, or a directory may not be read |
 * | EPERM      | neither the owner nor CAP_FOWNER; where SELinux is off: no CAP_SYS_ADMIN |
 * | EOPNOTSUPP | a filesystem keeps no labels, or is mounted with context= |
 * | EMFILE     | more than 512 directories one in another, or no descriptor left |
 * | ENOENT     | there is no such root |
 *
 * See `man 8 setfiles`, `man 2 setxattr`.
 */
export async function relabel(
  root: string,
  context: ContextLike | ChooseLabel,
  options: RelabelOptions = {},
): Promise<RelabelCounts> {
  const directory = checkPath(root, 'relabel: root')
  const given = checkOptions<RelabelOptions>(options, 'relabel', ['signal', 'onProgress', 'crossMounts'])
  const { signal, onProgress } = given
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw invalid('relabel: signal', `expected an AbortSignal, got ${show(signal)}`)
  if (onProgress !== undefined && typeof onProgress !== 'function')
    throw invalid('relabel: onProgress', `expected a function, got ${show(onProgress)}`)
  const crossMounts = boolean(given.crossMounts ?? false, 'relabel: crossMounts')
  const choose = typeof context === 'function' ? context : undefined
  const label =
    typeof context === 'string' || context instanceof Context
      ? contextText(context, 'relabel: context')
      : null
  if (choose === undefined && label === null)
    throw invalid('relabel: context', `expected a context or a function, got ${show(context)}`)
  signal?.throwIfAborted()

  const binding = native()
  let told = performance.now()
  const walk = binding.relabelBegin(directory, label, crossMounts)
  try {
    let labels: (string | null)[] = []
    for (;;) {
      const [error, call, path, done, seen, changed, mounts, rows] = await binding.relabelContinue(
        walk,
        labels,
      )
      if (error < 0) {
        throw new KernelError({ errno: -error, syscall: call, path, hint: hint(-error, call) })
      }
      const counts = { seen, changed, mounts }
      if (done) return counts
      signal?.throwIfAborted()
      if (onProgress && performance.now() - told >= PERIOD) {
        told = performance.now()
        onProgress(counts)
      }
      labels = rows.map((row) => {
        const chosen = choose?.(row[0], statOf(row)) ?? null
        return chosen === null ? null : contextText(chosen, `relabel: context of ${row[0]}`)
      })
    }
  } finally {
    binding.relabelEnd(walk)
  }
}
