// Files: made and written.
import { invalid } from '../errors.ts'
import type { Flags } from '../flags.ts'
import { Step } from '../step.ts'
import {
  bytes,
  cell,
  dirfd as dirfdArgument,
  type Errnos,
  integer,
  mode as modeArgument,
  named,
  options as checkOptions,
  path as pathArgument,
} from './arguments.ts'
import {
  accessBits,
  type AtOptions,
  creates,
  creationMode,
  lookupHints,
  openBits,
  type OpenFlag,
  openFlags,
  printOpenFlags,
} from './open.ts'
import { call, fdName, octal, quote } from './strace.ts'

export interface MakeOptions extends AtOptions {
  /** Errnos that count as success, e.g. `['EEXIST']`. */
  ignore?: Errnos
}

/**
 * `int mkdirat(int dirfd, const char *path, mode_t mode)`: makes a directory. The umask takes away from the
 * mode. Since Linux 2.6.16.
 *
 * Acts on: the filesystem that the child sees. Needs no privilege but write permission.
 *
 * | errno  | when |
 * |--------|------|
 * | EEXIST | there is something; `ignore: ['EEXIST']` takes that for success |
 * | ENOENT | its parent does not exist |
 * | EROFS  | read-only |
 *
 * See `man 2 mkdirat`.
 */
export function mkdir(path: string, mode = 0o777, options: MakeOptions = {}): Step {
  const given = checkOptions<MakeOptions>(options, 'mkdirat', ['dirfd', 'ignore'])
  const dirfd = dirfdArgument(given.dirfd, 'mkdirat: dirfd')
  pathArgument(path, 'mkdirat: path')
  modeArgument(mode, 'mkdirat: mode')
  return new Step('mkdirat', [cell(dirfd), path, mode], {
    calls: () => [call('mkdirat', fdName(dirfd), quote(path), octal(mode))],
    path,
    ignore: given.ignore,
    hints: lookupHints,
  })
}

/**
 * `int symlinkat(const char *target, int newdirfd, const char *linkpath)`: makes a symbolic link. Since Linux
 * 2.6.16.
 *
 * Acts on: the filesystem that the child sees. Needs no privilege but write permission.
 *
 * | errno  | when |
 * |--------|------|
 * | EEXIST | there is something |
 * | ENOENT | its parent does not exist |
 * | EPERM  | this filesystem has no symbolic links |
 *
 * See `man 2 symlinkat`.
 */
export function symlink(target: string, linkpath: string, options: MakeOptions = {}): Step {
  const given = checkOptions<MakeOptions>(options, 'symlinkat', ['dirfd', 'ignore'])
  const dirfd = dirfdArgument(given.dirfd, 'symlinkat: dirfd')
  pathArgument(target, 'symlinkat: target')
  pathArgument(linkpath, 'symlinkat: linkpath')
  return new Step('symlinkat', [target, cell(dirfd), linkpath], {
    calls: () => [call('symlinkat', quote(target), fdName(dirfd), quote(linkpath))],
    path: target,
    dest: linkpath,
    ignore: given.ignore,
    hints: lookupHints,
  })
}

const nodeTypes = {
  S_IFIFO: 0o010000,
  S_IFCHR: 0o020000,
  S_IFBLK: 0o060000,
  S_IFREG: 0o100000,
  S_IFSOCK: 0o140000,
}

export type NodeType = keyof typeof nodeTypes

export interface MknodOptions extends MakeOptions {
  /** Of a device, up to 4095. */
  major?: number
  /** Of a device, up to 1048575. */
  minor?: number
}

/**
 * `int mknodat(int dirfd, const char *path, mode_t mode, dev_t dev)`: makes a device, a fifo, a socket or a
 * plain file. The umask takes away from the mode. Since Linux 2.6.16.
 *
 * Acts on: the filesystem that the child sees. A fifo, a socket and a plain file need no privilege; devices
 * need CAP_MKNOD in the first user namespace: elsewhere bind those of the host.
 *
 * | errno  | when |
 * |--------|------|
 * | EEXIST | there is something |
 * | EPERM  | no CAP_MKNOD; any device in a user namespace |
 *
 * See `man 2 mknodat`, `man 3 makedev`.
 */
export function mknod(path: string, mode: number, type: NodeType, options: MknodOptions = {}): Step {
  const given = checkOptions<MknodOptions>(options, 'mknodat', ['dirfd', 'ignore', 'major', 'minor'])
  const dirfd = dirfdArgument(given.dirfd, 'mknodat: dirfd')
  pathArgument(path, 'mknodat: path')
  const permissions = modeArgument(mode, 'mknodat: mode')
  if (typeof type !== 'string')
    throw invalid('mknodat: type', `expected one of ${Object.keys(nodeTypes).join(', ')}`)
  const bits = named(type, 'mknodat: type', nodeTypes)
  const device = type === 'S_IFCHR' || type === 'S_IFBLK'
  for (const key of ['major', 'minor'] as const) {
    if (!device && given[key] !== undefined) throw invalid(`mknodat: ${key}`, `${type} has none`)
  }
  const major = device ? integer(given.major, 'mknodat: major', 0, 0xfff) : 0
  const minor = device ? integer(given.minor, 'mknodat: minor', 0, 0xf_ffff) : 0
  const dev = ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0
  const special = permissions & 0o7000
  const names = [
    type,
    special & 0o4000 && 'S_ISUID',
    special & 0o2000 && 'S_ISGID',
    special & 0o1000 && 'S_ISVTX',
  ]
  const printedMode = [...names.filter(Boolean), octal(permissions & 0o777)].join('|')
  const printedDev = device ? [`makedev(0x${major.toString(16)}, 0x${minor.toString(16)})`] : []
  return new Step('mknodat', [cell(dirfd), path, bits | permissions, dev], {
    calls: () => [call('mknodat', fdName(dirfd), quote(path), printedMode, ...printedDev)],
    path,
    ignore: given.ignore,
    hints: {
      ...lookupHints,
      EPERM: "devices need CAP_MKNOD in the first user namespace: in another, bind the host's /dev/…",
    },
  })
}

export interface WriteOptions extends MakeOptions {
  /** Beside O_WRONLY and O_CLOEXEC. Default: O_CREAT and O_TRUNC. */
  flags?: Flags<OpenFlag>
  /** Of a file that is made. Default: 0666. */
  mode?: number
}

/**
 * `int openat(int dirfd, const char *path, int flags, mode_t mode)`, `ssize_t write(int fd, const void *buf,
 * size_t count)`, `int close(int fd)`: writes all the data to a file, in one call if the kernel takes it all,
 * as files in /proc and /sys want it. A path there is the child's, which someone else may have prepared.
 * Since Linux 2.6.16.
 *
 * Acts on: the filesystem that the child sees. Needs no privilege but what the file asks for.
 *
 * | errno  | when |
 * |--------|------|
 * | EACCES | no permission |
 * | EIO    | the kernel took less than all |
 * | ENOSPC, EDQUOT | full |
 * | EROFS  | read-only |
 *
 * See `man 2 openat`, `man 2 write`.
 */
export function writeFile(path: string, data: string | Uint8Array, options: WriteOptions = {}): Step {
  const given = checkOptions<WriteOptions>(options, 'writeFile', ['flags', 'mode', 'dirfd', 'ignore'])
  const dirfd = dirfdArgument(given.dirfd, 'writeFile: dirfd')
  pathArgument(path, 'writeFile: path')
  // The caller's array may change before the step runs.
  const content =
    typeof data === 'string'
      ? bytes(data, 'writeFile: data')
      : Uint8Array.from(bytes(data, 'writeFile: data') as Uint8Array)
  const wanted = openFlags.value(given.flags ?? ['O_CREAT', 'O_TRUNC'], 'writeFile: flags')
  if (wanted & 2) throw invalid('writeFile: flags', 'it is opened with O_WRONLY, not O_RDWR')
  const bits = (wanted | accessBits.O_WRONLY | openBits.O_CLOEXEC) >>> 0
  const permissions = creationMode(given.mode, bits, 'writeFile')
  return new Step('write_file', [cell(dirfd), path, bits, permissions, content], {
    calls: () => [
      call(
        'openat',
        fdName(dirfd),
        quote(path),
        printOpenFlags(bits),
        ...(creates(bits) ? [octal(permissions)] : []),
      ),
      call('write', '<openat>', quote(content), String(Buffer.byteLength(content))),
      call('close', '<openat>'),
    ],
    path,
    ignore: given.ignore,
    hints: lookupHints,
  })
}
