// MCS: a pair of categories that nobody else on this machine has. Who holds one has locked its byte of a file that all
// share, and the kernel unlocks it when he ends, however he ends.
import fs, { promises } from 'node:fs'
import { constants } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { inspect, promisify } from 'node:util'
import { codeOf, kernelError } from '../cgroups/files.ts'
import { check, invalid, KernelError, show } from '../errors.ts'
import { openFd, own } from '../fd.ts'
import { native } from '../native.ts'
import { ps } from '../ps.ts'
import { options as checkOptions, path as checkPath } from '../steps/arguments.ts'
import { Context, Level, Range } from './context.ts'

const COUNT = 1024
/** The byte of a pair is first * 1024 + second. */
const BYTES = COUNT * COUNT
/** Longer than root holds all bytes of a file that it removes. */
const MOMENT = 10

const fstat = promisify(fs.fstat)
const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK } = fs.constants

export interface AllocateOptions {
  /**
   * Contexts or levels that are not to be met again though no process has them, such as those of files that a
   * sandbox has left.
   */
  except?: Iterable<string | Context | Range | Level> | undefined
  /** The file whose bytes are locked: who has another one allocates for himself. */
  lockFile?: string | undefined
}

/** A pair of categories, until it is disposed of or this process ends. */
export class Categories {
  readonly categories: readonly [number, number]
  #fd: number

  constructor(fd: number, first: number, second: number) {
    this.#fd = fd
    own(fd)
    this.categories = Object.freeze([first, second] as const)
  }

  /** 's0:c1,c2' */
  get level(): string {
    const [first, second] = this.categories
    return `s0:c${String(first)},c${String(second)}`
  }

  get released(): boolean {
    return this.#fd < 0
  }

  /** Lets others have it; not before the last process with this level has ended. Twice is no error. */
  release(): void {
    if (this.#fd >= 0) native().close(this.#fd)
    this.#fd = -1
  }

  [Symbol.dispose](): void {
    this.release()
  }

  toString(): string {
    return this.level
  }

  [inspect.custom](): string {
    return `Categories(${this.level}${this.released ? ', released' : ''})`
  }
}

/** Levels of others. */
class Taken {
  readonly #pairs = new Set<number>()
  readonly #others = new Map<string, ReadonlySet<number>>()

  add(range: Range | undefined): void {
    for (const { categories } of range === undefined ? [] : [range.low, range.high]) {
      const [first, second] = categories
      // None separates from nobody; all of them are an administrator's, who is above everybody on purpose.
      if (first === undefined || categories.length === COUNT) continue
      if (second !== undefined && categories.length === 2) this.#pairs.add(first * COUNT + second)
      else this.#others.set(categories.join(), new Set(categories))
    }
  }

  /** Whether either level would dominate the other. */
  has(first: number, second: number): boolean {
    if (this.#pairs.has(first * COUNT + second)) return true
    for (const other of this.#others.values()) {
      if (other.size === 1 ? other.has(first) || other.has(second) : other.has(first) && other.has(second))
        return true
    }
    return false
  }
}

function rangeOf(value: unknown, argument: string): Range | undefined {
  if (value instanceof Context) return value.range
  if (value instanceof Range) return value
  if (value instanceof Level) return Range.parse(String(value))
  if (typeof value !== 'string') throw invalid(argument, `expected a context or a level, got ${show(value)}`)
  return /^s\d+(:c|-|$)/.test(value) ? Range.parse(value, argument) : Context.parse(value).range
}

/** Of every process that this /proc shows. */
async function addLive(taken: Taken): Promise<void> {
  for (const label of new Set((await ps({ fields: ['label'] })).map((process) => process.label))) {
    let range: Range | undefined
    try {
      range = label === undefined ? undefined : Context.parse(label).range
    } catch {
      // Not SELinux's, or of a policy with other names of levels.
      continue
    }
    taken.add(range)
  }
}

/** The first of these directories that everybody may make files in and nobody may remove others' from. */
async function defaultFile(): Promise<string> {
  for (const directory of ['/run/lock', '/dev/shm', '/tmp']) {
    const stat = await promises.lstat(directory).catch(() => undefined)
    if (stat?.isDirectory() && (stat.mode & 0o1777) === 0o1777) return `${directory}/fancyproc-mcs`
  }
  throw new KernelError({
    errno: constants.errno.ENOENT,
    syscall: 'open',
    hint: 'neither /run/lock, /dev/shm nor /tmp is a directory for everybody (mode 1777): name a lockFile',
  })
}

/** Nobody may meet it before everybody may write to it: it is made beside its place, and linked there. */
async function create(path: string): Promise<void> {
  const temporary = `${path}.${crypto.randomUUID()}`
  const fd = openFd(temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
  try {
    fs.fchmodSync(fd, 0o666)
    await promises.link(temporary, path)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
  } finally {
    native().close(fd)
    await promises.unlink(temporary)
  }
}

async function openFile(path: string): Promise<number> {
  for (;;) {
    try {
      return openFd(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK)
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error
      await create(path)
    }
  }
}

/** Of the machine, not of a user namespace, whose root may well know that of the machine as nobody. */
function isRoot(): boolean {
  return (
    process.geteuid?.() === 0 &&
    /^\s*0\s+0\s+4294967295\s*$/.test(fs.readFileSync('/proc/self/uid_map', 'latin1'))
  )
}

/** A regular file; false when by now another one has its name. */
async function isCurrent(fd: number, path: string): Promise<boolean> {
  const stat = await fstat(fd)
  if (!stat.isFile())
    throw new KernelError({
      errno: constants.errno.EINVAL,
      syscall: 'open',
      path,
      hint: 'it is no regular file',
    })
  if (!isSame(await promises.lstat(path).catch(() => undefined), stat)) return false
  if (stat.uid === 0 || !isRoot()) return true
  await removeUnused(fd, path, stat)
  return false
}

const isSame = (a: fs.Stats | undefined, b: fs.Stats): boolean => a?.dev === b.dev && a.ino === b.ino

/**
 * Whoever owns the file may remove it from a sticky directory, and others would lock another one: root relies on its own.
 * One in which nobody holds a pair can go; others who have opened it see that it is no longer current.
 */
async function removeUnused(fd: number, path: string, stat: fs.Stats): Promise<void> {
  const held = (): boolean => check(native().lock(fd, 0, BYTES), 'fcntl') !== 0
  // By another root, too, who is about to remove it.
  for (let tries = 0; stat.size > 0 || held(); tries++) {
    if (stat.size === 0 && tries < 20) {
      await delay(MOMENT)
      continue
    }
    const why = stat.size > 0 ? 'is not empty' : 'has pairs that are held'
    throw new KernelError({
      errno: constants.errno.EACCES,
      syscall: 'open',
      path,
      hint: `it is uid ${String(stat.uid)}'s, who may remove it while root relies on it, and ${why}: remove it, or name a lockFile`,
    })
  }
  // At once: as long as all of it is locked, others find no pair.
  const named = fs.lstatSync(path, { throwIfNoEntry: false })
  if (isSame(named, stat)) fs.unlinkSync(path)
}

/** Locks the first pair that is free in a range of bytes. */
function lockWithin(fd: number, from: number, to: number, taken: Taken): [number, number] | undefined {
  for (let at = from; at < to;) {
    const [first, second] = [Math.floor(at / COUNT), at % COUNT]
    if (second <= first) at = first * COUNT + first + 1
    else if (taken.has(first, second)) at++
    else {
      const end = check(native().lock(fd, at, 1), 'fcntl')
      if (end === 0) return [first, second]
      at = end
    }
  }
  return undefined
}

/** The byte of a pair at random, each as likely as any other. */
function anyPair(): number {
  const random = (below: number): number => Math.floor(Math.random() * below)
  const [one, other] = [random(COUNT), random(COUNT - 1)]
  const another = other + Number(other >= one)
  return Math.min(one, another) * COUNT + Math.max(one, another)
}

/** Locks a pair: any one at random, and then the next one, so that the last one is found too. */
async function lockPair(fd: number, taken: Taken, path: string): Promise<[number, number] | undefined> {
  const start = anyPair()
  const pair = lockWithin(fd, start, BYTES, taken) ?? lockWithin(fd, 0, start, taken)
  if (pair) return pair
  // Root holds all of it while it removes it.
  await delay(MOMENT)
  if (!(await isCurrent(fd, path))) return undefined
  const hint =
    'all 523,776 pairs of categories are held, by others who have locked them in this file or by live processes'
  throw new KernelError({ errno: constants.errno.EAGAIN, syscall: 'fcntl', path, hint })
}

const hints = {
  EACCES: 'its directory is not for this user, or another one has made the file, and not for everybody',
  ELOOP: 'it is a symbolic link, which no allocator makes',
}

/**
 * `fcntl(fd, F_OFD_SETLK, &byte)`: a pair of MCS categories for a sandbox, `s0:c1,c2`, that no other allocator of
 * this machine holds, in this process or another, of this user or another, and that no live process has: neither
 * level dominates the other. It is held until it is released, or this process ends, however it ends. Give it to a
 * process of yours before that: from then on that process's label counts, as long as it lives. Since Linux 3.15.
 *
 * Acts on: a byte of a file, by default `fancyproc-mcs` in the first of /run/lock, /dev/shm and /tmp that is for
 * everybody. Needs no privilege; works where SELinux is off, where no label is met. Processes that this /proc
 * hides (hidepid, another pid namespace), or whose label the policy does not let us read, are not met: there the
 * lock alone counts. A container with directories of its own is a machine of its own here. Whoever owns the file, the
 * first who has allocated, can remove it, and those who come later get what the lock no longer tells of: root therefore
 * replaces it by its own once no pair in it is held, others have to trust its owner.
 *
 * | errno  | when |
 * |--------|------|
 * | EAGAIN | none of the 523,776 pairs is left |
 * | EACCES | another user has made the file for himself, or its directory is not for this one; for root: it is not root's, and in use |
 * | ENOENT | no such directory is for everybody: name a lockFile |
 * | ELOOP  | the file is a symbolic link |
 * | EINVAL | it is no regular file |
 * | ENOLCK | no room for more locks |
 *
 * See `man 2 fcntl`, `man 8 mcs`.
 */
export async function allocateCategories(options: AllocateOptions = {}): Promise<Categories> {
  const call = 'allocateCategories'
  const { except = [], lockFile } = checkOptions<AllocateOptions>(options, call, ['except', 'lockFile'])
  const taken = new Taken()
  if (typeof except === 'string' || !(Symbol.iterator in Object(except)))
    throw invalid(`${call}: except`, `expected a list of contexts or levels, got ${show(except)}`)
  for (const one of except) taken.add(rangeOf(one, `${call}: except`))
  const path = lockFile === undefined ? await defaultFile() : checkPath(lockFile, `${call}: lockFile`)
  for (;;) {
    let fd = -1
    try {
      fd = await openFile(path)
      const pair = (await isCurrent(fd, path)) ? await lockPair(fd, taken, path) : undefined
      if (pair) {
        const [first, second] = pair
        // After the lock: whoever had it before us may have ended, and left a process with it.
        await addLive(taken)
        if (!taken.has(first, second) && (await isCurrent(fd, path))) {
          const categories = new Categories(fd, first, second)
          fd = -1
          return categories
        }
      }
    } catch (error) {
      throw kernelError(error, { path }, hints)
    } finally {
      if (fd >= 0) native().close(fd)
    }
  }
}
