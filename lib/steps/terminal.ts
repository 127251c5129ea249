// ioctl(2), which is how terminals are driven, and setsid(2).
import { invalid, show } from '../errors.ts'
import { FdStep, Step, type StepDetails } from '../step.ts'
import { cell, fd as fdArgument, type FdArgument, integer, named, options } from './arguments.ts'
import { dup, sendFd } from './fd.ts'
import { open } from './open.ts'
import { call, fdName, hex, quote } from './strace.ts'

const requests = {
  TIOCSCTTY: 0x540e,
  TIOCSWINSZ: 0x5414,
  TIOCNOTTY: 0x5422,
  TIOCSPTLCK: 0x4004_5431,
  TIOCGPTPEER: 0x5441,
} as const

/** Requests that have a name here; any other goes by its number. */
export type IoctlRequest = keyof typeof requests

function requestName(request: number): string {
  const known = Object.entries(requests).find(([, number]) => number === request)
  if (known) return known[0]
  const direction = ['_IOC_NONE', '_IOC_WRITE', '_IOC_READ', '_IOC_READ|_IOC_WRITE'][request >>> 30] ?? ''
  const size = (request >>> 16) & 0x3fff
  return `_IOC(${direction}, ${hex((request >>> 8) & 0xff)}, ${hex(request & 0xff)}, ${hex(size)})`
}

type IoctlArgument = number | bigint | Uint8Array

function details(
  fd: FdArgument,
  request: number,
  shown: string | null,
  hints?: StepDetails['hints'],
): StepDetails {
  const name = requestName(request)
  return { calls: () => [call('ioctl', fdName(fd), name, ...(shown === null ? [] : [shown]))], hints }
}

/**
 * `int ioctl(int fd, unsigned long op, ...)`: whatever a driver offers. The argument is a number, or bytes
 * whose address the kernel gets; what it writes there is lost. Since Linux 1.0; which op it has depends on
 * the driver.
 *
 * Acts on: the child only. Needs no privilege, unless the driver asks for one.
 *
 * | errno  | when |
 * |--------|------|
 * | EBADF  | not open |
 * | EINVAL | a bad argument |
 * | ENOTTY | not that kind of file |
 *
 * See `man 2 ioctl`.
 */
export function ioctl(fd: FdArgument, request: IoctlRequest | number, argument: IoctlArgument = 0): Step {
  fdArgument(fd, 'ioctl: fd')
  const number = named(request, 'ioctl: op', requests, 0, 0xffff_ffff)
  if (argument instanceof Uint8Array) {
    const copy = Uint8Array.from(argument)
    return new Step('ioctl', [cell(fd), number, copy], details(fd, number, quote(copy)))
  }
  if (
    typeof argument === 'bigint'
      ? argument < 0 || argument >= 2n ** 64n
      : !Number.isSafeInteger(argument) || argument < 0
  ) {
    throw invalid('ioctl: argument', `expected an unsigned integer or a Uint8Array, got ${show(argument)}`)
  }
  return new Step(
    'ioctl',
    [cell(fd), number, argument],
    details(fd, number, number === requests.TIOCNOTTY ? null : hex(argument)),
  )
}

/**
 * `pid_t setsid(void)`: a new session and process group, led by the caller, without a controlling terminal.
 * Since Linux 2.0.
 *
 * Acts on: the child only. `detached` does it before the first step, and so does `stdio: 'pty'`
 * unless steps open the pty. Needs no privilege.
 *
 * | errno | when |
 * |-------|------|
 * | EPERM | it leads a process group already |
 *
 * See `man 2 setsid`.
 */
export function setsid(): Step {
  return new Step('setsid', [], {
    calls: () => [call('setsid')],
    hints: { EPERM: "it leads a session already: `detached` and `stdio: 'pty'` have made one" },
  })
}

/**
 * `ioctl(fd, TIOCSCTTY, 0)`: this terminal controls the session that the caller leads. Since Linux 1.0.
 *
 * Acts on: the child only. Comes after `setsid`. Needs no privilege.
 *
 * | errno  | when |
 * |--------|------|
 * | EPERM  | not the session's leader; it has a terminal; the terminal has a session |
 * | ENOTTY | no terminal |
 *
 * See `man 2 ioctl_tty`.
 */
export function setControllingTerminal(fd: FdArgument): Step {
  fdArgument(fd, 'TIOCSCTTY: fd')
  return new Step('ioctl', [cell(fd), requests.TIOCSCTTY, 0], {
    ...details(fd, requests.TIOCSCTTY, '0'),
    hints: { EPERM: 'setsid() comes first, and the terminal must not control another session' },
  })
}

/**
 * `ioctl(master, TIOCSPTLCK, &(int){0})`: unlocks the other end of a pty, which can then be opened. Since
 * Linux 2.2.
 *
 * Acts on: the pty of the child. Needs no privilege.
 *
 * | errno  | when |
 * |--------|------|
 * | ENOTTY | no master of a pty |
 *
 * See `man 2 ioctl_tty`.
 */
export function unlockpt(master: FdArgument): Step {
  fdArgument(master, 'TIOCSPTLCK: fd')
  return new Step(
    'ioctl',
    [cell(master), requests.TIOCSPTLCK, new Uint8Array(4)],
    details(master, requests.TIOCSPTLCK, '[0]'),
  )
}

const O_RDWR_NOCTTY_CLOEXEC = 0x2 | 0x100 | 0x8_0000

/**
 * `int ioctl(int master, TIOCGPTPEER, int flags)`: opens the other end of a pty, without a path that someone
 * could have prepared; with O_RDWR, O_NOCTTY and O_CLOEXEC. Since Linux 4.13.
 *
 * Acts on: the child only. Needs no privilege.
 *
 * | errno  | when |
 * |--------|------|
 * | EIO    | still locked |
 * | ENOTTY | no master of a pty |
 *
 * See `man 2 ioctl_tty`.
 */
export function ptsPeer(master: FdArgument): FdStep {
  fdArgument(master, 'TIOCGPTPEER: fd')
  return new FdStep('ioctl', [cell(master), requests.TIOCGPTPEER, O_RDWR_NOCTTY_CLOEXEC], {
    ...details(master, requests.TIOCGPTPEER, hex(O_RDWR_NOCTTY_CLOEXEC)),
    hints: { EIO: 'unlockpt() comes first' },
  })
}

/**
 * `ioctl(fd, TIOCSWINSZ, &(struct winsize){rows, columns})`: a terminal's size, in characters. Its foreground
 * processes get SIGWINCH if it is another than before. Since Linux 1.0.
 *
 * Acts on: the terminal of the child. Needs no privilege.
 *
 * | errno  | when |
 * |--------|------|
 * | ENOTTY | no terminal |
 *
 * See `man 2 ioctl_tty`.
 */
export function windowSize(fd: FdArgument, columns: number, rows: number): Step {
  fdArgument(fd, 'TIOCSWINSZ: fd')
  integer(columns, 'TIOCSWINSZ: columns', 0, 0xffff)
  integer(rows, 'TIOCSWINSZ: rows', 0, 0xffff)
  const size = new Uint8Array(Uint16Array.of(rows, columns, 0, 0).buffer)
  const shown = `{ws_row=${String(rows)}, ws_col=${String(columns)}, ws_xpixel=0, ws_ypixel=0}`
  return new Step('ioctl', [cell(fd), requests.TIOCSWINSZ, size], details(fd, requests.TIOCSWINSZ, shown))
}

export interface WindowSize {
  /** Default: 80 */
  columns?: number
  /** Default: 24 */
  rows?: number
}

/**
 * `openat(path)`, `ioctl(TIOCSPTLCK)`, `ioctl(TIOCGPTPEER)`, `setsid`, `ioctl(TIOCSCTTY)`, three times
 * `dup3`, `sendmsg`: opens a pty of the child's own devpts, makes it the controlling terminal and descriptors
 * 0 to 2, and sends the master to the parent under the name 'pty'. Since Linux 4.13.
 *
 * It is made for `stdio: 'pty'`: given these steps, spawn() makes no pty of its own, and the process has this
 * one as `pty` from `'spawn'` on. `tty` then prints its name inside, which a pty from outside cannot have
 * there. Comes after the steps that mount a devpts, and after `clone`; not together with `detached`. Its window has
 * `size` from the start; spawn's option `pty` sets it when the master has arrived, and the program may run by then.
 *
 * Acts on: the child only. Needs no privilege but write permission on `path`.
 *
 * Errnos: as for `open`, `unlockpt`, `ptsPeer`, `setsid`, `setControllingTerminal`, `dup` and `sendFd`;
 * ENOSPC: kernel.pty.max, or the devpts' own `max`, is reached.
 *
 * See `man 7 pty`, `man 4 pts`, `man 2 ioctl_tty`.
 */
export function openpty(path = '/dev/pts/ptmx', size?: WindowSize): Step[] {
  const { columns = 80, rows = 24 } =
    size === undefined ? {} : options<WindowSize>(size, 'openpty', ['columns', 'rows'])
  const master = open(path, ['O_RDWR', 'O_NOCTTY'])
  const peer = ptsPeer(master)
  return [
    master,
    unlockpt(master),
    peer,
    ...(size === undefined ? [] : [windowSize(master, columns, rows)]),
    setsid(),
    setControllingTerminal(peer),
    dup(peer, 0),
    dup(peer, 1),
    dup(peer, 2),
    sendFd('pty', master),
  ]
}
