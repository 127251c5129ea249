// What a step reads for the parent: a file, a link, what statfs(2) tells. The process's `data` has it by its name.
import type { Flags } from '../flags.ts'
import { DataStep } from '../step.ts'
import {
  cell,
  dirfd as dirfdArgument,
  type Directory,
  integer,
  options as checkOptions,
  path as pathArgument,
  text,
} from './arguments.ts'
import { type AtOptions, lookupHints, openBits, type OpenFlag, openFlags, printOpenFlags } from './open.ts'
import { call, fdName, quote } from './strace.ts'

const MOST = 1 << 20
const MOST_EVER = 1 << 24
const PATH_MAX = 4096
const STATFS_SIZE = 120

export interface ReadOptions extends AtOptions {
  /** Beside O_RDONLY and O_CLOEXEC. */
  flags?: Flags<OpenFlag>
  /** Bytes, up to 16 MiB, since all is copied at once; a longer file is EFBIG. Default: 1 MiB. */
  most?: number
}

/**
 * `int openat(int dirfd, const char *path, int flags)`, `ssize_t read(int fd, void *buf, size_t count)` to
 * its end, `int close(int fd)`: reads a file for the parent, where the process's `data` has it under this
 * name. With `dirfd: procfs`, files of the child: `readFile('mounts', 'self/mountinfo', { dirfd: procfs })`.
 * Since Linux 2.6.16.
 *
 * Acts on: the child, in a spawn or `inNamespaces` only. Needs no privilege but read permission.
 *
 * | errno  | when |
 * |--------|------|
 * | EACCES | no permission |
 * | EFBIG  | it has more than `most` bytes |
 * | EISDIR | a directory |
 * | ENOENT | no such file |
 *
 * See `man 2 openat`, `man 2 read`.
 */
export function readFile(name: string, path: string, options: ReadOptions = {}): DataStep {
  text(name, 'readFile: name')
  const given = checkOptions<ReadOptions>(options, 'readFile', ['dirfd', 'flags', 'most'])
  const dirfd = dirfdArgument(given.dirfd, 'readFile: dirfd')
  pathArgument(path, 'readFile: path')
  const bits = (openFlags.value(given.flags ?? 0, 'readFile: flags') | openBits.O_CLOEXEC) >>> 0
  // One more, to see that the file is no longer.
  const room = integer(given.most ?? MOST, 'readFile: most', 0, MOST_EVER) + 1
  return new DataStep('read_file', [cell(dirfd), path, bits, room], {
    path,
    dest: name,
    calls: () => [
      call('openat', fdName(dirfd), quote(path), printOpenFlags(bits)),
      call('read', '<openat>', `<${name}>`, String(room)),
      call('close', '<openat>'),
    ],
    hints: {
      ...lookupHints,
      EFBIG: `it has more than ${String(room - 1)} bytes: say how many with \`most\``,
    },
  })
}

/**
 * `ssize_t readlinkat(int dirfd, const char *path, char *buf, size_t bufsiz)`: reads where a symbolic link
 * points to, for the parent, where the process's `data` has it under this name. Since Linux 2.6.16.
 *
 * Acts on: the child, in a spawn or `inNamespaces` only. Needs no privilege but search permission.
 *
 * | errno  | when |
 * |--------|------|
 * | EACCES | no search permission on the way |
 * | EINVAL | no symbolic link |
 * | ENOENT | no such link |
 *
 * See `man 2 readlinkat`.
 */
export function readlink(name: string, path: string, options: AtOptions = {}): DataStep {
  text(name, 'readlinkat: name')
  const given = checkOptions<AtOptions>(options, 'readlinkat', ['dirfd'])
  const dirfd: Directory | null = dirfdArgument(given.dirfd, 'readlinkat: dirfd')
  pathArgument(path, 'readlinkat: path')
  return new DataStep('readlinkat', [cell(dirfd), path, PATH_MAX + 1], {
    path,
    dest: name,
    calls: () => [call('readlinkat', fdName(dirfd), quote(path), `<${name}>`, String(PATH_MAX + 1))],
    hints: { ...lookupHints, EINVAL: 'it is no symbolic link' },
  })
}

/**
 * `int statfs(const char *path, struct statfs *buf)`: what filesystem a path is on, for the parent, where the
 * process's `data` has it under this name, as the kernel's struct: `parseStatfs` reads that. Since Linux
 * 2.6.18.
 *
 * Acts on: the child, in a spawn or `inNamespaces` only. Needs no privilege but search permission.
 *
 * | errno  | when |
 * |--------|------|
 * | EACCES | no search permission on the way |
 * | ENOENT | no such file |
 * | ENOSYS | the filesystem does not tell |
 *
 * See `man 2 statfs`.
 */
export function statfs(name: string, path: string): DataStep {
  text(name, 'statfs: name')
  pathArgument(path, 'statfs: path')
  return new DataStep('statfs', [path, STATFS_SIZE], {
    path,
    dest: name,
    calls: () => [call('statfs', quote(path), `<${name}>`)],
    hints: lookupHints,
  })
}

/** struct statfs; sizes count in blocks of `bsize` bytes. */
export interface Statfs {
  type: bigint
  bsize: bigint
  blocks: bigint
  bfree: bigint
  bavail: bigint
  files: bigint
  ffree: bigint
  namelen: bigint
  frsize: bigint
  /** ST_RDONLY and its like. */
  flags: bigint
}

/** What a `statfs` step has read. */
export function parseStatfs(bytes: Uint8Array): Statfs {
  const view = new DataView(bytes.buffer, bytes.byteOffset, STATFS_SIZE)
  const at = (index: number): bigint => view.getBigUint64(index * 8, true)
  return {
    type: at(0),
    bsize: at(1),
    blocks: at(2),
    bfree: at(3),
    bavail: at(4),
    files: at(5),
    ffree: at(6),
    // The eighth is f_fsid.
    namelen: at(8),
    frsize: at(9),
    flags: at(10),
  }
}
