// A file that holds a namespace, as /run/netns does: a bind mount of it.
import { closeSync, constants, openSync, rmSync, statfsSync } from 'node:fs'
import { errnoNumber, invalid, KernelError, show } from '../errors.ts'
import { type FdLike, fdNumber, isFdLike } from '../fd.ts'
import { refused } from '../pinned.ts'
import { path as checkPath } from '../steps/arguments.ts'
import { bind, umount2 } from '../thread.ts'
import { open } from './open.ts'

const NSFS_MAGIC = 0x6e736673

const OF_MOUNTS =
  'a mount namespace cannot be pinned in itself, nor in one that is younger, nor below a mount that is shared with other ' +
  'mount namespaces: bind the directory onto itself and make it private first'

function create(path: string): void {
  try {
    closeSync(openSync(path, constants.O_CREAT | constants.O_EXCL | constants.O_RDONLY, 0o444))
  } catch (error) {
    throw refused(error, path)
  }
}

/**
 * `mount("/proc/self/fd/FD", path, NULL, MS_BIND, NULL)`: keeps a namespace alive by a file that is created for it, also
 * when nobody is in it and this process is gone; `open(path)`, `nsenter --net=path` and the like find it there. `ip netns`
 * does that in /run/netns.
 *
 * Acts on: the mount namespace of the calling thread. Needs CAP_SYS_ADMIN in the user namespace that owns it. Nothing is left
 * when it fails.
 *
 * | errno  | when |
 * |--------|------|
 * | EEXIST | there is such a file |
 * | EINVAL | the fd is no namespace; one of mounts: in itself, in a younger one, or below a shared mount |
 * | ENOENT | there is no such directory |
 * | EPERM  | no CAP_SYS_ADMIN |
 *
 * Since Linux 3.8. See `man 7 namespaces`.
 */
export function pin(namespace: FdLike, path: string): void {
  if (!isFdLike(namespace)) throw invalid('pin: namespace', `expected a namespace, got ${show(namespace)}`)
  checkPath(path, 'pin: path')
  using held = open({ fd: fdNumber(namespace, 'pin: namespace') })
  create(path)
  try {
    bind(`/proc/thread-self/fd/${String(held.fd)}`, path)
  } catch (error) {
    rmSync(path)
    if (!(error instanceof KernelError) || error.code !== 'EINVAL' || held.kind !== 'mnt') throw error
    const { syscall, dest } = error
    throw new KernelError({
      errno: -error.errno,
      syscall,
      path: 'mnt namespace',
      dest,
      hint: OF_MOUNTS,
      cause: error,
    })
  }
}

/**
 * `umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW)`, `unlink(path)`: takes away what `pin` has made. The namespace ends when
 * nothing else holds it.
 *
 * Acts on: the mount namespace of the calling thread. Needs CAP_SYS_ADMIN in the user namespace that owns it.
 *
 * | errno  | when |
 * |--------|------|
 * | EINVAL | nothing is pinned there |
 * | ENOENT | there is no such file |
 * | EPERM  | no CAP_SYS_ADMIN |
 *
 * Since Linux 3.8. See `man 2 umount2`.
 */
export function unpin(path: string): void {
  checkPath(path, 'unpin: path')
  try {
    if (statfsSync(path).type !== NSFS_MAGIC) {
      const errno = errnoNumber('EINVAL') ?? 22
      throw new KernelError({ errno, syscall: 'umount2', path, hint: 'no namespace is pinned there' })
    }
    umount2(path, ['MNT_DETACH', 'UMOUNT_NOFOLLOW'])
    rmSync(path)
  } catch (error) {
    throw error instanceof KernelError ? error : refused(error, path)
  }
}
