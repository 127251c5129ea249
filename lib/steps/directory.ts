// What fs_struct holds: root, working directory, umask.
import { Step } from '../step.ts'
import { cell, fd as fdArgument, type FdArgument, integer, path } from './arguments.ts'
import { call, fdName, octal, quote } from './strace.ts'

/**
 * `int chdir(const char *path)`: the working directory, where relative paths start; within the root, which is asked of
 * getcwd(2) afterwards. Since Linux 1.0.
 *
 * Acts on: the child. Needs no privilege but search permission.
 *
 * | errno   | when |
 * |---------|------|
 * | ENOENT  | no such directory, in the root that the steps before have made |
 * | ENOTDIR | no directory |
 * | EACCES  | no search permission on the way |
 * | EXDEV   | the path leads out of the root, as one through /proc/self/fd may |
 * | ENAMETOOLONG | the path, or that of the directory from the root on, has more than 4095 bytes |
 *
 * See `man 2 chdir`, `man 2 getcwd`.
 */
export function chdir(directory: string): Step {
  path(directory, 'chdir: path')
  return new Step('chdir', [directory], {
    calls: () => [call('chdir', quote(directory))],
    path: directory,
    hints: {
      ENOENT: 'it is looked up in the root that the steps before this one have made',
      EXDEV:
        'it leads out of the root, through a descriptor in /proc/self/fd or a link to one: the program would start there, ' +
        'outside of all that was made for it (fchdir of a descriptor does not ask)',
    },
  })
}

/**
 * `int fchdir(int fd)`: the working directory, by a descriptor of it. One from outside a new root leads out
 * of that root: have `chdir('/')` after it. Since Linux 1.0.
 *
 * Acts on: the child. Needs no privilege but search permission.
 *
 * | errno   | when |
 * |---------|------|
 * | EBADF   | not open |
 * | ENOTDIR | no directory |
 *
 * See `man 2 fchdir`.
 */
export function fchdir(fd: FdArgument): Step {
  fdArgument(fd, 'fchdir: fd')
  return new Step('fchdir', [cell(fd)], { calls: () => [call('fchdir', fdName(fd))] })
}

/**
 * `int chroot(const char *path)`: the root directory, where absolute paths start. The working directory
 * stays, outside, until a chdir('/'). It keeps no one in who has CAP_SYS_CHROOT or an fd of a directory
 * outside: prefer `pivotRoot`. Since Linux 1.0.
 *
 * Acts on: the child. Needs CAP_SYS_CHROOT.
 *
 * | errno   | when |
 * |---------|------|
 * | EPERM   | no CAP_SYS_CHROOT |
 * | ENOENT  | no such directory |
 * | ENOTDIR | no directory |
 *
 * See `man 2 chroot`.
 */
export function chroot(directory: string): Step {
  path(directory, 'chroot: path')
  return new Step('chroot', [directory], {
    calls: () => [call('chroot', quote(directory))],
    path: directory,
    hints: { EPERM: "this needs CAP_SYS_CHROOT: as an ordinary user, in a 'user' namespace" },
  })
}

/**
 * `mode_t umask(mode_t mask)`: the permission bits that new files do not get. The child starts with the
 * caller's. Since Linux 1.0.
 *
 * Acts on: the child. Needs no privilege.
 *
 * Errnos: none, it cannot fail.
 *
 * See `man 2 umask`.
 */
export function umask(mask: number): Step {
  integer(mask, 'umask: mask', 0, 0o777)
  return new Step('umask', [mask], { calls: () => [call('umask', octal(mask))] })
}
