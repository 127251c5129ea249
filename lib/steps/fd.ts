// Descriptors of the child: close(2), close_range(2), dup3(2), and sent to the parent.
import { invalid, outOfRange, show } from '../errors.ts'
import { type Flags, FlagTable } from '../flags.ts'
import { FdStep, Step } from '../step.ts'
import {
  cell,
  ChildFd,
  childFd,
  fd as fdArgument,
  type FdArgument,
  fdTarget,
  integer,
  text,
} from './arguments.ts'
import { call, fdName, quote } from './strace.ts'

const EBADF = 'this fd is not open in the child: it has those of stdio, and those that its steps open'

/**
 * `int close(int fd)`: closes a descriptor of the child, by the child's number for it, or the one that a step
 * has opened. Seldom needed: whatever is not one of stdio is closed before the first step or at execve. Since
 * Linux 1.0.
 *
 * Acts on: the child only. Needs no privilege.
 *
 * | errno | when |
 * |-------|------|
 * | EBADF | not open |
 *
 * See `man 2 close`.
 */
export function close(fd: number | ChildFd | FdStep): Step {
  const own = typeof fd === 'number' ? childFd(fdTarget(fd, 'close: fd')) : fd
  if (!(own instanceof ChildFd) && !(own instanceof FdStep)) {
    throw invalid('close: fd', `expected an fd of the child, or a step that opens one, got ${show(own)}`)
  }
  return new Step('close', [cell(own)], { calls: () => [call('close', fdName(own))], hints: { EBADF } })
}

export type CloseRangeFlag = 'CLOSE_RANGE_UNSHARE' | 'CLOSE_RANGE_CLOEXEC'

const closeRangeFlags = new FlagTable<CloseRangeFlag>(
  { CLOSE_RANGE_UNSHARE: 2, CLOSE_RANGE_CLOEXEC: 4 },
  'CLOSE_RANGE_???',
)

/**
 * `int close_range(unsigned int first, unsigned int last, unsigned int flags)`: closes all descriptors from
 * first to last, which is the highest there can be if left out. Those that later steps need are passed over;
 * the program never sees them. Since Linux 5.9, CLOSE_RANGE_CLOEXEC 5.11.
 *
 * Acts on: the child only. Needs no privilege.
 *
 * | errno  | when |
 * |--------|------|
 * | EINVAL | first is above last; an unknown flag |
 *
 * See `man 2 close_range`.
 */
export function closeRange(first: number, last = 0xffff_ffff, flags: Flags<CloseRangeFlag> = 0): Step {
  integer(first, 'close_range: first', 0, 0xffff_ffff)
  integer(last, 'close_range: last', 0, 0xffff_ffff)
  if (first > last) throw outOfRange('close_range: last', `${String(last)} is below first, ${String(first)}`)
  const bits = closeRangeFlags.value(flags, 'close_range: flags')
  return new Step('close_range', [first, last, bits], {
    calls: () => [call('close_range', String(first), String(last), closeRangeFlags.print(bits))],
    hints: { EINVAL: 'CLOSE_RANGE_CLOEXEC is of Linux 5.11' },
  })
}

export type DupFlag = 'O_CLOEXEC'

const dupFlags = new FlagTable<DupFlag>({ O_CLOEXEC: 0x8_0000 }, 'O_???')

/**
 * `int dup3(int oldfd, int newfd, int flags)`: makes newfd the child's number for what oldfd is; what was
 * there is closed. The program sees it, unless 'O_CLOEXEC' is given. Equal numbers are no error: it then only
 * sets or clears the flag. Since Linux 2.6.27.
 *
 * Acts on: the child only. Needs no privilege.
 *
 * | errno | when |
 * |-------|------|
 * | EBADF | oldfd is not open; newfd is above RLIMIT_NOFILE |
 *
 * See `man 2 dup3`.
 */
export function dup(oldfd: FdArgument, newfd: number, flags: Flags<DupFlag> = 0): Step {
  fdArgument(oldfd, 'dup3: oldfd')
  fdTarget(newfd, 'dup3: newfd')
  const bits = dupFlags.value(flags, 'dup3: flags')
  return new Step('dup3', [cell(oldfd), newfd, bits], {
    calls: () => [call('dup3', fdName(oldfd), String(newfd), dupFlags.print(bits))],
    hints: {
      EBADF: `${EBADF}; or the new number is at or above RLIMIT_NOFILE, which is 1024 unless a step sets it`,
    },
  })
}

/** A descriptor on its way to the parent, under a name; on the wire that is a number. */
export class SendFdStep extends Step {
  declare readonly dest: string

  get name(): string {
    return this.dest
  }

  at(index: number): SendFdStep {
    return new SendFdStep(this.operation, [this.args[0] ?? null, index], {
      dest: this.dest,
      calls: () => this.calls,
      hints: this.hints,
    })
  }
}

/**
 * `ssize_t sendmsg(int sockfd, const struct msghdr *msg, int flags)` with SCM_RIGHTS: hands a descriptor of
 * the child to the parent, where the `fds` of the process, or of the results, have it under this name. Since Linux 2.2.
 *
 * Acts on: the child only. Needs no privilege.
 *
 * | errno | when |
 * |-------|------|
 * | EBADF | not open |
 * | ETOOMANYREFS | more descriptors in flight than RLIMIT_NOFILE |
 *
 * See `man 7 unix`.
 */
export function sendFd(name: string, fd: FdArgument): SendFdStep {
  text(name, 'sendFd: name')
  fdArgument(fd, 'sendFd: fd')
  const message = `{msg_control=[{cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[${fdName(fd)}]}]}`
  return new SendFdStep('send_fd', [cell(fd), name], {
    dest: name,
    calls: () => [call('sendmsg', `<parent> /* ${quote(name)} */`, message, 'MSG_NOSIGNAL')],
    hints: { EBADF },
  })
}
