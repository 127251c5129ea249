// What opens files: openat(2), openat2(2), and their flags.
import { constants } from 'node:fs'
import { invalid } from '../errors.ts'
import { type Flags, FlagTable } from '../flags.ts'
import { FdStep } from '../step.ts'
import {
  cell,
  dirfd as dirfdArgument,
  type Directory,
  mode as modeArgument,
  options as checkOptions,
  path as pathArgument,
} from './arguments.ts'
import { call, fdName, octal, quote } from './strace.ts'

// Some differ between x86-64 and arm64, and libuv knows those. O_CREAT and its like come in strace's order.
export const openBits = {
  O_CREAT: constants.O_CREAT,
  O_EXCL: constants.O_EXCL,
  O_NOCTTY: constants.O_NOCTTY,
  O_TRUNC: constants.O_TRUNC,
  O_APPEND: constants.O_APPEND,
  O_NONBLOCK: constants.O_NONBLOCK,
  O_SYNC: constants.O_SYNC,
  O_DSYNC: constants.O_DSYNC,
  O_DIRECT: constants.O_DIRECT,
  O_NOFOLLOW: constants.O_NOFOLLOW,
  O_NOATIME: constants.O_NOATIME,
  O_CLOEXEC: 0x8_0000,
  O_PATH: 0x20_0000,
  O_TMPFILE: 0x40_0000 | constants.O_DIRECTORY,
  O_DIRECTORY: constants.O_DIRECTORY,
}
export const accessBits = { O_RDONLY: 0, O_WRONLY: 1, O_RDWR: 2 }

/**
 * Flags of open(2), as <fcntl.h> has them. O_CLOEXEC is always on: what a program is to see, `dup` places.
 */
export type OpenFlag = keyof typeof openBits | keyof typeof accessBits

export const openFlags = new FlagTable<OpenFlag>({ ...accessBits, ...openBits }, 'O_???')
const printed = new FlagTable(openBits, 'O_???')

export function printOpenFlags(flags: number | bigint): string {
  const access = Number(BigInt(flags) & 3n)
  const rest = BigInt(flags) & ~3n
  const name = ['O_RDONLY', 'O_WRONLY', 'O_RDWR', 'O_ACCMODE'][access] ?? ''
  if (rest === 0n) return name
  const { text, rest: unnamed } = printed.split(rest)
  return [name, text, unnamed === 0n ? '' : `0x${unnamed.toString(16)}`]
    .filter((part) => part !== '')
    .join('|')
}

/** Only a call that may create a file has a mode. */
export function creates(flags: number | bigint): boolean {
  return (BigInt(flags) & BigInt(openBits.O_CREAT | 0x40_0000)) !== 0n
}

export function creationMode(mode: unknown, flags: number | bigint, name: string): number {
  if (mode === undefined) return creates(flags) ? 0o666 : 0
  const bits = modeArgument(mode, `${name}: mode`)
  if (!creates(flags)) throw invalid(`${name}: mode`, 'means nothing without O_CREAT or O_TMPFILE')
  return bits
}

export const lookupHints = {
  ENOENT: 'paths are looked up in the root that the steps before this one have made',
  EOVERFLOW:
    'nothing is made by ids that the user namespace has not: the maps (mapUser, or uidMap and gidMap) come before, and so do ' +
    'setresgid and setresuid if they map others than ours',
}

export interface AtOptions {
  /** The directory where a relative path starts. Default: the working directory. */
  dirfd?: Directory | null
}

/**
 * `int openat(int dirfd, const char *path, int flags, mode_t mode)`: opens a file, for later steps to use.
 * O_CLOEXEC is always on, so the program does not see it unless `dup` gives it a number. The mode is 0666
 * where one is needed. Since Linux 2.6.16.
 *
 * Acts on: the child. In `fancyproc/thread` it gives an `Fd`. Needs no privilege but what the file asks for.
 *
 * | errno  | when |
 * |--------|------|
 * | EACCES | no permission |
 * | ELOOP  | O_NOFOLLOW and a symbolic link |
 * | ENOENT | no such file |
 * | ENXIO  | no such device; a fifo without a reader |
 *
 * See `man 2 openat`.
 */
export function open(
  path: string,
  flags: Flags<OpenFlag> = 'O_RDONLY',
  mode?: number,
  options: AtOptions = {},
): FdStep {
  const given = checkOptions<AtOptions>(options, 'openat', ['dirfd'])
  const dirfd = dirfdArgument(given.dirfd, 'openat: dirfd')
  pathArgument(path, 'openat: path')
  const bits = (openFlags.value(flags, 'openat: flags') | openBits.O_CLOEXEC) >>> 0
  const permissions = creationMode(mode, bits, 'openat')
  return new FdStep('openat', [cell(dirfd), path, bits, permissions], {
    calls: () => [
      call(
        'openat',
        fdName(dirfd),
        quote(path),
        printOpenFlags(bits),
        ...(creates(bits) ? [octal(permissions)] : []),
      ),
    ],
    path,
    hints: lookupHints,
  })
}

const resolveBits = {
  RESOLVE_NO_XDEV: 1,
  RESOLVE_NO_MAGICLINKS: 2,
  RESOLVE_NO_SYMLINKS: 4,
  RESOLVE_BENEATH: 8,
  RESOLVE_IN_ROOT: 16,
  RESOLVE_CACHED: 32,
}

/** How openat2(2) walks a path, as <linux/openat2.h> has it. */
export type ResolveFlag = keyof typeof resolveBits

const resolveFlags = new FlagTable<ResolveFlag>(resolveBits, 'RESOLVE_???')

export interface OpenHow extends AtOptions {
  flags?: Flags<OpenFlag>
  mode?: number
  resolve?: Flags<ResolveFlag>
}

/**
 * `long openat2(int dirfd, const char *path, struct open_how *how, size_t size)`: opens a file, and says how
 * far its path may lead: with 'RESOLVE_IN_ROOT' no link leads out of dirfd. That is how one opens what lies
 * in someone else's root. O_CLOEXEC is always on. Since Linux 5.6.
 *
 * Acts on: the child. In `fancyproc/thread` it gives an `Fd`. Needs no privilege but what the file asks for.
 *
 * | errno  | when |
 * |--------|------|
 * | EAGAIN | something was renamed meanwhile: try again |
 * | EINVAL | a flag that this kernel does not know |
 * | ELOOP  | a link, with RESOLVE_NO_SYMLINKS or RESOLVE_NO_MAGICLINKS |
 * | EXDEV  | the path leads out, with RESOLVE_BENEATH; to another mount, with RESOLVE_NO_XDEV |
 *
 * See `man 2 openat2`.
 */
export function openat2(path: string, how: OpenHow = {}): FdStep {
  const given = checkOptions<OpenHow>(how, 'openat2', ['flags', 'mode', 'resolve', 'dirfd'])
  const dirfd = dirfdArgument(given.dirfd, 'openat2: dirfd')
  pathArgument(path, 'openat2: path')
  const flags = openFlags.wide(given.flags ?? 0, 'openat2: flags') | BigInt(openBits.O_CLOEXEC)
  const mode = creationMode(given.mode, flags, 'openat2')
  const resolve = resolveFlags.wide(given.resolve ?? 0, 'openat2: resolve')
  return new FdStep('openat2', [cell(dirfd), path, flags, mode, resolve], {
    calls: () => {
      const parts = [`flags=${printOpenFlags(flags)}`, ...(mode === 0 ? [] : [`mode=${octal(mode)}`])]
      return [
        call(
          'openat2',
          fdName(dirfd),
          quote(path),
          `{${parts.join(', ')}, resolve=${resolveFlags.print(resolve)}}`,
          '24',
        ),
      ]
    },
    path,
    hints: {
      ...lookupHints,
      EXDEV: 'the path leads out of what `resolve` allows',
      EINVAL: 'flags that exclude one another, or that this kernel does not know',
    },
  })
}
