/**
 * fancyproc/thread: the primitives that really are the calling thread's own, done now.
 *
 * Node has many threads. What these change stays behind on all others: libuv's pool, where `fs.promises`,
 * callbacks of `fs` and `dns.lookup` run, and other Workers. After `unshare('fs')` and `unshare('mnt')` on
 * the main thread `fs.readFileSync` sees the new mounts, and `fs.promises.readFile` the old ones. A Worker is
 * the place for it; the thread and what it joined are gone when the Worker ends. Workers that a changed thread
 * makes, and children of `child_process`, start in what it is in; those of our `spawn` never do: they have the
 * identity of the thread that first used this library, as it was then.
 *
 * chdir, chroot, umask, pivot_root, setrlimit and setsid change the whole process, and so are steps only.
 */
import { errnoName, KernelError } from './errors.ts'
import { Fd } from './fd.ts'
import { requireModule } from './lsm.ts'
import { native } from './native.ts'
import { encode } from './plan.ts'
import type { FdStep, Step } from './step.ts'
import * as steps from './steps/index.ts'

/** Runs one step on the calling thread: its result. */
function now(step: Step): number {
  requireModule(step)
  const [result, at] = native().call(encode({ steps: [step] }).bytes)
  if (result >= 0) return result
  const failed = step.calls[at]
  throw new KernelError({
    errno: -result,
    syscall: failed?.syscall ?? step.operation,
    args: step.args,
    path: step.path,
    dest: step.dest,
    hint: step.hints[errnoName(-result)],
  })
}

/** The same constructor, whose step runs at once. */
function doing<Args extends readonly unknown[]>(make: (...args: Args) => Step): (...args: Args) => void {
  return (...args) => void now(make(...args))
}

function opening<Args extends readonly unknown[]>(make: (...args: Args) => FdStep): (...args: Args) => Fd {
  return (...args) => {
    const step = make(...args)
    return new Fd(now(step), step.operation)
  }
}

/**
 * `int unshare(int flags)`: new namespaces for this thread. 'user' is EINVAL in Node, which has several
 * threads. 'mnt' stops sharing root and cwd with the other threads, too. 'pid' and 'time' are those of
 * children only which this very thread forks, as `child_process` does: the first is pid 1 there, and after its
 * end each fork fails with ENOMEM. Our `spawn` takes no notice. Needs CAP_SYS_ADMIN.
 *
 * See `unshare` of fancyproc/steps for errors, and `man 2 unshare`.
 */
export const unshare = doing(steps.unshare)

/**
 * `int setns(int fd, int nstype)`: this thread joins a namespace. 'user' is EINVAL in Node, and so is 'mnt'
 * until `unshare('fs')` has given the thread a root and cwd of its own. The rest of the process stays where
 * it is, so /proc/self (the main thread's) may show another namespace than /proc/thread-self. Needs
 * CAP_SYS_ADMIN.
 *
 * See `setns` of fancyproc/steps for errors, and `man 2 setns`.
 */
export const setns = doing(steps.setns)

/**
 * `mount(2)` in this thread's mount namespace: the host's, unless it was unshared. See `mount` of
 * fancyproc/steps.
 */
export const mount = doing(steps.mount)

/**
 * `mount(source, target, NULL, MS_BIND, NULL)` in this thread's mount namespace. See `bind` of
 * fancyproc/steps.
 */
export const bind = doing(steps.bind)

/**
 * `mount(NULL, target, NULL, MS_REMOUNT | flags, data)` in this thread's mount namespace. See `remount` of
 * fancyproc/steps.
 */
export const remount = doing(steps.remount)

/**
 * `mount(NULL, target, NULL, MS_PRIVATE, NULL)` in this thread's mount namespace. See `makePrivate` of
 * fancyproc/steps.
 */
export const makePrivate = doing(steps.makePrivate)

/**
 * `mount(NULL, target, NULL, MS_SLAVE, NULL)` in this thread's mount namespace. See `makeSlave` of
 * fancyproc/steps.
 */
export const makeSlave = doing(steps.makeSlave)

/**
 * `mount(NULL, target, NULL, MS_SHARED, NULL)` in this thread's mount namespace. See `makeShared` of
 * fancyproc/steps.
 */
export const makeShared = doing(steps.makeShared)

/**
 * `mount(NULL, target, NULL, MS_UNBINDABLE, NULL)` in this thread's mount namespace. See `makeUnbindable` of
 * fancyproc/steps.
 */
export const makeUnbindable = doing(steps.makeUnbindable)

/**
 * `umount2(2)` in this thread's mount namespace: the host's, unless it was unshared. See `umount2` of
 * fancyproc/steps.
 */
export const umount2 = doing(steps.umount2)

/**
 * `sethostname(2)` in this thread's uts namespace: the host's, unless it was unshared. See `sethostname` of
 * fancyproc/steps.
 */
export const sethostname = doing(steps.sethostname)

/**
 * `setdomainname(2)` in this thread's uts namespace: the host's, unless it was unshared. See `setdomainname`
 * of fancyproc/steps.
 */
export const setdomainname = doing(steps.setdomainname)

/**
 * The system call setresuid, which changes this thread alone; `process.setuid()` changes all. libuv's pool
 * keeps the old ids, so `fs.promises` works with the old privilege. The process is not dumpable afterwards:
 * its files in /proc are root's.
 *
 * See `setresuid` of fancyproc/steps for errors, and `man 2 setresuid`.
 */
export const setresuid = doing(steps.setresuid)

/**
 * The system call setresgid, which changes this thread alone. See `setresuid`, and `setresgid` of
 * fancyproc/steps.
 */
export const setresgid = doing(steps.setresgid)

/** The system call capset, which changes this thread alone. See `capset` of fancyproc/steps. */
export const capset = doing(steps.capset)

/** The system call setgroups, which changes this thread alone. See `setgroups` of fancyproc/steps. */
export const setgroups = doing(steps.setgroups)

/**
 * `prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)`: for this thread and what it makes, for good. Spawns are made by
 * threads that are there already, so a child that is to have it needs the step.
 *
 * See `setNoNewPrivs` of fancyproc/steps.
 */
export const setNoNewPrivs = doing(steps.setNoNewPrivs)

/**
 * `prctl(PR_SET_NAME, name)`: this thread's name in /proc/PID/task/TID/comm, up to 15 bytes. See `setName` of
 * fancyproc/steps.
 */
export const setName = doing(steps.setName)

/**
 * Sets the SELinux context for this thread's next execve: that of `node:child_process`, which forks from the
 * thread that calls it. A spawn of ours is made by another thread and takes no notice: it needs the step.
 * Set, and then not cleared with null, the label meets whoever executes next.
 *
 * See `setexeccon` of fancyproc/steps for errors, and `man 3 setexeccon`.
 */
export const setexeccon = doing(steps.setexeccon)

/**
 * Sets the SELinux context of files that this thread makes from here on, as `fs.writeFileSync` does, and
 * `fs.promises`, whose files another thread makes, does not; null undoes it. The steps of a spawn take no
 * notice. See `setfscreatecon` of fancyproc/steps.
 */
export const setfscreatecon = doing(steps.setfscreatecon)

/**
 * Sets the SELinux context of keys that this thread makes from here on; null undoes it. See `setkeycreatecon`
 * of fancyproc/steps.
 */
export const setkeycreatecon = doing(steps.setkeycreatecon)

/**
 * Sets the SELinux context of sockets that this thread makes from here on, as `net.connect` does; null undoes
 * it. See `setsockcreatecon` of fancyproc/steps.
 */
export const setsockcreatecon = doing(steps.setsockcreatecon)

/**
 * `keyctl(KEYCTL_JOIN_SESSION_KEYRING, name)`: for this thread and what it makes. Node's other threads keep
 * theirs. See `joinSessionKeyring` of fancyproc/steps.
 */
export const joinSessionKeyring = doing(steps.joinSessionKeyring)

/**
 * Changes the SELinux context of this thread. Node has many threads, and so it is EPERM unless policy bounds
 * the new type by the present one (typebounds). See `setcon` of fancyproc/steps.
 */
export const setcon = doing(steps.setcon)

/**
 * Sets the AppArmor profile for this thread's next execve: that of `node:child_process`, as for `setexeccon`.
 * It stays set, through `aaChangeProfile`, too, and cannot be cleared; 'unconfined' is what an unconfined
 * thread would have without it. See `aaChangeOnexec` of fancyproc/steps.
 */
export const aaChangeOnexec = doing(steps.aaChangeOnexec)

/**
 * Changes the AppArmor profile of this thread, for good unless the new one lets it go. Other threads keep
 * theirs. See `aaChangeProfile` of fancyproc/steps.
 */
export const aaChangeProfile = doing(steps.aaChangeProfile)

/** `openat(2)` by this thread, in its root, cwd and namespaces. See `open` of fancyproc/steps. */
export const open = opening(steps.open)

/** `openat2(2)` by this thread, in its root, cwd and namespaces. See `openat2` of fancyproc/steps. */
export const openat2 = opening(steps.openat2)

/** `mkdirat(2)` by this thread, in its root, cwd and namespaces. See `mkdir` of fancyproc/steps. */
export const mkdir = doing(steps.mkdir)

/** `symlinkat(2)` by this thread, in its root, cwd and namespaces. See `symlink` of fancyproc/steps. */
export const symlink = doing(steps.symlink)

/** `mknodat(2)` by this thread, in its root, cwd and namespaces. See `mknod` of fancyproc/steps. */
export const mknod = doing(steps.mknod)

/**
 * `openat(2)`, `write(2)`, `close(2)` by this thread, in its root, cwd and namespaces. See `writeFile` of
 * fancyproc/steps.
 */
export const writeFile = doing(steps.writeFile)
