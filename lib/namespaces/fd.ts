// A namespace that an fd holds: ioctl_ns(2).
import { fstatSync } from 'node:fs'
import { check, errnoName, invalid, KernelError } from '../errors.ts'
import { Fd } from '../fd.ts'
import { native } from '../native.ts'
import { kindOf, type Namespace } from '../steps/namespace.ts'
import { integer } from '../steps/arguments.ts'

const requests = {
  NS_GET_USERNS: 0xb701,
  NS_GET_PARENT: 0xb702,
  NS_GET_NSTYPE: 0xb703,
  NS_GET_OWNER_UID: 0xb704,
  NS_GET_TGID_FROM_PIDNS: 0x8004_b707,
  NS_GET_TGID_IN_PIDNS: 0x8004_b709,
  NS_GET_ID: 0x8008_b70d,
} as const

type Request = keyof typeof requests

const hints: Partial<Record<Request, Readonly<Record<string, string>>>> = {
  NS_GET_USERNS: { EPERM: 'it is owned by a user namespace above our own' },
  NS_GET_PARENT: { EPERM: 'it is the first of its kind, or its parent lies above our own' },
  NS_GET_TGID_FROM_PIDNS: {
    ENOTTY: 'before Linux 6.11 the kernel does not translate pids: NSpid in /proc/PID/status has them',
    ESRCH: 'no process has this pid in there, or it has none here',
  },
  NS_GET_TGID_IN_PIDNS: {
    ENOTTY: 'before Linux 6.11 the kernel does not translate pids: NSpid in /proc/PID/status has them',
    ESRCH: 'no process has this pid here, or it has none in there',
  },
}

function ask(fd: number, request: Request, argument = 0): number {
  const result = native().nsfs(fd, requests[request], argument)
  return check(result, `ioctl(${request})`, { hint: hints[request]?.[errnoName(-result)] })
}

/** A namespace that this descriptor keeps alive: whoever is in it may end. Where an fd of one is taken, so is this. */
export class NamespaceFd extends Fd {
  readonly kind: Namespace
  readonly inode: number

  /** Takes ownership of a descriptor, which has to be that of a namespace. */
  constructor(fd: number) {
    const flag = ask(fd, 'NS_GET_NSTYPE')
    const kind = kindOf(flag)
    if (kind === undefined)
      throw invalid('fd', `a kind of namespace that is not known here: 0x${flag.toString(16)}`)
    super(fd, `${kind} namespace`)
    this.kind = kind
    this.inode = fstatSync(fd).ino
  }

  /**
   * `ioctl(fd, NS_GET_ID, &id)`: what no other namespace is ever given, as it may be given the inode; undefined where the kernel
   * has none. Since Linux 6.18, of 'mnt' 6.11.
   */
  get id(): bigint | undefined {
    const id = native().nsfs(this.fd, requests.NS_GET_ID, 0)
    if (errnoName(-id) === 'EBADF') check(id, 'ioctl(NS_GET_ID)')
    return id < 0 ? undefined : BigInt(id)
  }

  /**
   * `ioctl(fd, NS_GET_USERNS)`: the user namespace that owns it; of one of 'user', its parent.
   *
   * Acts on: this process. Needs no privilege.
   *
   * | errno | when |
   * |-------|------|
   * | EPERM | that lies above our own |
   *
   * Since Linux 4.9. See `man 2 ioctl_ns`.
   */
  owner(): NamespaceFd {
    return new NamespaceFd(ask(this.fd, 'NS_GET_USERNS'))
  }

  /**
   * `ioctl(fd, NS_GET_PARENT)`: what one of 'pid' or 'user' is nested in.
   *
   * Acts on: this process. Needs no privilege.
   *
   * | errno  | when |
   * |--------|------|
   * | EPERM  | that lies above our own |
   * | EINVAL | it is of another kind |
   *
   * Since Linux 4.9. See `man 2 ioctl_ns`.
   */
  parent(): NamespaceFd {
    return new NamespaceFd(ask(this.fd, 'NS_GET_PARENT'))
  }

  /**
   * `ioctl(fd, NS_GET_OWNER_UID, &uid)`: who made one of 'user', as an id of our user namespace. Since Linux 4.11.
   *
   * Throws a `KernelError`: EINVAL for other kinds. See `man 2 ioctl_ns`.
   */
  get uid(): number {
    return ask(this.fd, 'NS_GET_OWNER_UID')
  }

  /**
   * `ioctl(fd, NS_GET_TGID_IN_PIDNS, pid)`: the pid that our process `pid` has in this pid namespace.
   *
   * Acts on: nothing. Needs no privilege.
   *
   * | errno  | when |
   * |--------|------|
   * | ESRCH  | there is none |
   * | EINVAL | it is of another kind |
   * | ENOTTY | the kernel is older |
   *
   * Since Linux 6.11. See `man 2 ioctl_ns`.
   */
  pidInside(pid: number): number {
    return ask(this.fd, 'NS_GET_TGID_IN_PIDNS', integer(pid, 'pidInside: pid', 1, 0x7fff_ffff))
  }

  /**
   * `ioctl(fd, NS_GET_TGID_FROM_PIDNS, pid)`: the pid that we have for a process that is `pid` in this pid namespace.
   *
   * Acts on: nothing. Needs no privilege.
   *
   * | errno  | when |
   * |--------|------|
   * | ESRCH  | there is none |
   * | EINVAL | it is of another kind |
   * | ENOTTY | the kernel is older |
   *
   * Since Linux 6.11. See `man 2 ioctl_ns`.
   */
  pidOutside(pid: number): number {
    return ask(this.fd, 'NS_GET_TGID_FROM_PIDNS', integer(pid, 'pidOutside: pid', 1, 0x7fff_ffff))
  }

  override dup(): NamespaceFd {
    return new NamespaceFd(check(native().dup(this.fd), 'fcntl'))
  }
}

/** The same, for a descriptor that may be anything: it is closed unless it is a namespace of that kind. */
export function namespaceFd(fd: number, kind: Namespace | undefined, path?: string): NamespaceFd {
  let namespace: NamespaceFd
  try {
    namespace = new NamespaceFd(fd)
  } catch (error) {
    native().close(fd)
    throw error
  }
  if (kind === undefined || namespace.kind === kind) return namespace
  namespace.close()
  const hint = `it is a namespace of kind '${namespace.kind}', not '${kind}'`
  throw new KernelError({ errno: 22, syscall: 'ioctl(NS_GET_NSTYPE)', path, hint })
}
