// What leaves a root behind: pivot_root(2), umount2(2).
import { type Flags, FlagTable } from '../flags.ts'
import { Step } from '../step.ts'
import { type Errnos, options as checkOptions, path } from './arguments.ts'
import { call, quote } from './strace.ts'

export type UmountFlag = 'MNT_FORCE' | 'MNT_DETACH' | 'MNT_EXPIRE' | 'UMOUNT_NOFOLLOW'

const umountFlags = new FlagTable<UmountFlag>(
  { MNT_FORCE: 1, MNT_DETACH: 2, MNT_EXPIRE: 4, UMOUNT_NOFOLLOW: 8 },
  'MNT_???',
)

/**
 * `int umount2(const char *target, int flags)`: takes a mount away; with 'MNT_DETACH' at once, and for good
 * when it is no longer used. Since Linux 2.1.116, MNT_DETACH 2.4.11.
 *
 * Acts on: the child's mount namespace; in `fancyproc/thread` the thread's. Needs CAP_SYS_ADMIN there.
 *
 * | errno  | when |
 * |--------|------|
 * | EBUSY  | in use, and no MNT_DETACH |
 * | EINVAL | no mount point; locked, as are those a user namespace has copied |
 * | EAGAIN | MNT_EXPIRE, for the first time |
 *
 * See `man 2 umount2`.
 */
export function umount2(
  target: string,
  flags: Flags<UmountFlag> = 0,
  options: { ignore?: Errnos } = {},
): Step {
  path(target, 'umount2: target')
  const bits = umountFlags.value(flags, 'umount2: flags')
  return new Step('umount2', [target, bits], {
    calls: () => [call('umount2', quote(target), umountFlags.print(bits))],
    path: target,
    ignore: checkOptions<{ ignore?: Errnos }>(options, 'umount2', ['ignore']).ignore,
    hints: {
      EINVAL:
        'no mount point; or in a user namespace a mount that came from outside, which is locked to what lies around it',
      EBUSY:
        'something still uses it: a working directory, an open file, a mount below; MNT_DETACH takes it away regardless',
      EPERM: 'this needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace',
    },
  })
}

/**
 * `int pivot_root(const char *new_root, const char *put_old)`: makes a mount the root, and mounts the old
 * root at put_old. With `pivotRoot('.', '.')` from inside the new root the old one lies on top, and
 * `umount2('.', 'MNT_DETACH')` takes it away. Since Linux 2.3.41.
 *
 * Acts on: the child's mount namespace, and whoever in it had the old root. Needs CAP_SYS_ADMIN there.
 *
 * | errno   | when |
 * |---------|------|
 * | EBUSY   | new_root or put_old is on the current root mount |
 * | EINVAL  | new_root is no mount point; it, its parent's or the root's mount is shared; put_old is not below it; the root is a ramfs |
 * | ENOTDIR | one is no directory |
 * | EPERM   | no CAP_SYS_ADMIN |
 *
 * See `man 2 pivot_root`.
 */
export function pivotRoot(newRoot: string, putOld: string): Step {
  path(newRoot, 'pivot_root: new_root')
  path(putOld, 'pivot_root: put_old')
  return new Step('pivot_root', [newRoot, putOld], {
    calls: () => [call('pivot_root', quote(newRoot), quote(putOld))],
    path: newRoot,
    dest: putOld,
    hints: {
      EINVAL:
        'new_root must be a mount point (bind it onto itself), no mount involved may be shared ' +
        "(makePrivate('/', { recursive: true }) first), and put_old must be at or below new_root; the initial ramfs cannot be left",
      EBUSY: 'new_root or put_old is on the current root mount: bind it onto itself first',
      EPERM: 'this needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace',
    },
  })
}
