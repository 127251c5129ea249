// unshare(2), setns(2), clone3(2)
import { readFileSync } from 'node:fs'
import { invalid } from '../errors.ts'
import { FlagTable } from '../flags.ts'
import { Step } from '../step.ts'
import { cell, fd as fdArgument, type FdArgument } from './arguments.ts'
import { call, fdName } from './strace.ts'

/** The kinds of namespace, by their names in /proc/PID/ns. */
export type Namespace = 'mnt' | 'uts' | 'ipc' | 'user' | 'pid' | 'net' | 'cgroup' | 'time'

/**
 * What else a task can stop sharing: root, cwd and umask; the table of descriptors; System V semaphore
 * adjustments.
 */
export type Unshareable = 'fs' | 'files' | 'sysvsem'

/** In the order in which strace prints them. */
const namespaceBits = {
  time: 0x80,
  mnt: 0x2_0000,
  cgroup: 0x200_0000,
  uts: 0x400_0000,
  ipc: 0x800_0000,
  user: 0x1000_0000,
  pid: 0x2000_0000,
  net: 0x4000_0000,
} as const satisfies Record<Namespace, number>

/** All kinds of namespace. */
export const namespaces: readonly Namespace[] = Object.keys(namespaceBits) as Namespace[]

/** The kind whose CLONE_NEW* bit this is. */
export function kindOf(flag: number): Namespace | undefined {
  return namespaces.find((kind) => namespaceBits[kind] === flag)
}

const everyKind = Object.values<number>(namespaceBits).reduce((bits, bit) => bits | bit)
const kindFlags = new FlagTable<Namespace>(namespaceBits, '')
const shared = new FlagTable<Namespace | Unshareable>(
  { ...namespaceBits, fs: 0x200, files: 0x400, sysvsem: 0x4_0000 },
  '',
)

const cloneFlags = {
  CLONE_NEWTIME: 0x80,
  CLONE_VM: 0x100,
  CLONE_FS: 0x200,
  CLONE_FILES: 0x400,
  CLONE_SIGHAND: 0x800,
  CLONE_PIDFD: 0x1000,
  CLONE_PARENT: 0x8000,
  CLONE_THREAD: 0x1_0000,
  CLONE_NEWNS: 0x2_0000,
  CLONE_SYSVSEM: 0x4_0000,
  CLONE_PARENT_SETTID: 0x10_0000,
  CLONE_NEWCGROUP: 0x200_0000,
  CLONE_NEWUTS: 0x400_0000,
  CLONE_NEWIPC: 0x800_0000,
  CLONE_NEWUSER: 0x1000_0000,
  CLONE_NEWPID: 0x2000_0000,
  CLONE_NEWNET: 0x4000_0000,
}
const printed = new FlagTable(cloneFlags, 'CLONE_???')
const printedForSetns = new FlagTable(cloneFlags, 'CLONE_NEW???')

/** Names of namespaces, or their bits. */
export type Namespaces = Namespace | number | readonly (Namespace | number)[]

/** CLONE_NEW* bits for a list of names. */
export function namespaceFlags(list: unknown, argument: string): number {
  const flags = kindFlags.value(list, argument)
  const others = flags & ~everyKind
  // CLONE_FS and its like would share what is ours with the child.
  if (others !== 0) throw invalid(argument, `no namespace: 0x${(others >>> 0).toString(16)}`)
  return flags
}

function setting(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch {
    return undefined
  }
}

const MAX_USER_NAMESPACES = '/proc/sys/user/max_user_namespaces'

/** Who on this machine keeps an ordinary user from making a user namespace, as far as one can tell. */
export function whyNoUserNamespace(): string {
  if (setting(MAX_USER_NAMESPACES) === '0') return 'the sysctl user.max_user_namespaces is 0'
  if (process.geteuid?.() !== 0) {
    if (setting('/proc/sys/kernel/unprivileged_userns_clone') === '0') {
      return 'the sysctl kernel.unprivileged_userns_clone is 0: only root may make user namespaces'
    }
    if (setting('/proc/sys/kernel/apparmor_restrict_unprivileged_userns') === '1') {
      return 'AppArmor (sysctl kernel.apparmor_restrict_unprivileged_userns) keeps ordinary users from it'
    }
  }
  if (/^Seccomp:\t2$/m.test(setting('/proc/self/status') ?? '')) {
    return 'a seccomp filter is on here, as in a container of another engine, and may forbid it'
  }
  return 'a user namespace cannot be made in a chroot, nor by an id that its own user namespace does not map'
}

function creationHints(flags: number, more: Readonly<Record<string, string>> = {}): Record<string, string> {
  const withUser = (flags & namespaceBits.user) !== 0
  return {
    get EPERM() {
      if (withUser) return whyNoUserNamespace()
      return "this needs CAP_SYS_ADMIN in the caller's user namespace: as an ordinary user, make a 'user' namespace first"
    },
    EINVAL: withUser
      ? 'a user namespace, and CLONE_FS for others, cannot be changed in a process with several threads; or the kernel lacks this kind of namespace'
      : 'the kernel lacks this kind of namespace, or the calling process has several threads',
    get ENOSPC() {
      if (withUser && setting(MAX_USER_NAMESPACES) === '0') return whyNoUserNamespace()
      return 'a limit of /proc/sys/user/max_*_namespaces, or of 32 nested user or pid namespaces, is reached'
    },
    EUSERS: 'the limit of 32 nested user namespaces is reached',
    ENOMEM: "the first process of the caller's new pid namespace has ended, and no other can be made in it",
    ...more,
  }
}

/**
 * `int unshare(int flags)`: new namespaces of these kinds for the calling thread. Of 'pid' and 'time', only
 * for its later children: a `clone()` step has to follow. A new 'mnt' is a copy that still shares mount
 * events with the host, see `makePrivate`. Since Linux 2.6.16, 'user' 3.8, 'cgroup' 4.6, 'time' 5.6.
 *
 * Acts on: the child; in `fancyproc/thread` one thread. Needs CAP_SYS_ADMIN, or 'user' in the same list,
 * which needs none.
 *
 * | errno  | when |
 * |--------|------|
 * | EINVAL | no such kind; 'user' in a process with several threads |
 * | EPERM  | no CAP_SYS_ADMIN; a user namespace in a chroot, or forbidden by a sysctl or LSM |
 * | ENOSPC | a limit of /proc/sys/user/, or of the depth of nesting |
 *
 * See `man 2 unshare`.
 */
export function unshare(
  what: Namespaces | Unshareable | readonly (Namespace | Unshareable | number)[],
): Step {
  const flags = shared.value(what, 'unshare: namespaces')
  return new Step('unshare', [flags], {
    calls: () => [call('unshare', printed.print(flags))],
    hints: creationHints(flags),
  })
}

/**
 * `int setns(int fd, int nstype)`: joins an existing namespace, or with a pidfd (Linux 5.8) several of a
 * process at once. With 'pid' and 'time' only later children are in it: a `clone()` step has to follow. `fd`
 * is that of a /proc/PID/ns file, or a pidfd; `kinds` says what to join, and may be left out for the former.
 * Since Linux 3.0.
 *
 * Acts on: the child; in `fancyproc/thread` one thread. Needs CAP_SYS_ADMIN in the namespace's owner and,
 * except for 'user', in its own. A child that joins is not dumpable until it executes its program: its files in
 * /proc are root's, so that of an ordinary user can't write the maps of a user namespace that it makes after that.
 *
 * | errno  | when |
 * |--------|------|
 * | EBADF  | no open fd |
 * | EINVAL | fd is of another kind; 'user': its own, or several threads; 'mnt': the fs attributes are shared with others |
 * | EPERM  | no CAP_SYS_ADMIN there |
 * | EUSERS | 'time' while memory is shared |
 * | ESRCH  | the pidfd's process has ended |
 *
 * See `man 2 setns`.
 */
export function setns(fd: FdArgument, nstype: Namespaces = 0): Step {
  fdArgument(fd, 'setns: fd')
  const flags = kindFlags.value(nstype, 'setns: nstype')
  return new Step('setns', [cell(fd), flags], {
    calls: () => [call('setns', fdName(fd), printedForSetns.print(flags))],
    hints: {
      EINVAL:
        "the fd is no namespace of that kind, or is the caller's own user namespace; " +
        "on a thread, 'user' never works and 'mnt' only after unshare('fs')",
      EPERM:
        "joining needs CAP_SYS_ADMIN in the namespace's owner: join its 'user' namespace first, or in the same call",
      ESRCH: 'the process of this pidfd has ended',
    },
  })
}

/**
 * `long clone3(struct clone_args *args, size_t size)`: the rest of the plan goes on in a new process, in new
 * namespaces if some are named, and the one before ends. Whoever joins or unshares a pid or time namespace
 * needs this to be in it. The new process is our own child (CLONE_PARENT): the handle that spawn() gave is
 * for the last one. Since Linux 5.5 (pidfd and clone3).
 *
 * Acts on: the child only. Put `setPdeathsig` and `setsid` after it: a new process has no death
 * signal, and leads no session. Needs no privilege; with namespaces CAP_SYS_ADMIN, or 'user' among them.
 *
 * | errno  | when |
 * |--------|------|
 * | EINVAL | the caller is the first process of a pid namespace |
 * | EAGAIN | RLIMIT_NPROC, pids.max |
 * | ENOMEM | the pid namespace that was joined or unshared has lost its first process |
 * | EPERM, ENOSPC | as for unshare |
 *
 * See `man 2 clone3`.
 */
export function clone(kinds: Namespaces = []): Step {
  const flags = namespaceFlags(kinds, 'clone: namespaces')
  const all = BigInt(flags) | BigInt(cloneFlags.CLONE_PARENT | cloneFlags.CLONE_PARENT_SETTID)
  return new Step('clone', [flags], {
    calls: () => [
      call('clone3', `{flags=${printed.print(all)}, exit_signal=0, stack=NULL, stack_size=0}`, '88'),
    ],
    hints: creationHints(flags, {
      EINVAL: 'the first process of a pid namespace cannot make a sibling (CLONE_PARENT)',
    }),
  })
}
