// sigaction(2), and the names of signals.
import { constants } from 'node:os'
import { invalid, show } from '../errors.ts'
import { Step } from '../step.ts'
import { named } from './arguments.ts'
import { call } from './strace.ts'

export type SignalName = NodeJS.Signals

/** Where one number has two names, strace and the kernel prefer these. */
const preferred = ['SIGABRT', 'SIGCHLD', 'SIGIO', 'SIGSYS']

export function signalNumber(signal: unknown, argument: string, least = 1): number {
  return named(signal, argument, constants.signals, least, 64)
}

export function printSignal(number: number): string {
  if (number >= 32 && number <= 64) return number === 32 ? 'SIGRTMIN' : `SIGRT_${String(number - 32)}`
  const names = Object.entries(constants.signals).filter(([, value]) => value === number)
  return (names.find(([name]) => preferred.includes(name)) ?? names[0])?.[0] ?? String(number)
}

const dispositions = { SIG_DFL: 0, SIG_IGN: 1 }

/**
 * `int sigaction(int signum, const struct sigaction *act, struct sigaction *oldact)`: whether the program
 * starts with a signal ignored. All others it starts with have their default action, as handlers do not
 * survive execve. Since Linux 2.2.
 *
 * Acts on: the child only. Needs no privilege.
 *
 * | errno  | when |
 * |--------|------|
 * | EINVAL | SIGKILL or SIGSTOP |
 *
 * See `man 2 sigaction`, `man 7 signal`.
 */
export function sigaction(signal: SignalName | number, disposition: keyof typeof dispositions): Step {
  const number = signalNumber(signal, 'sigaction: signum')
  if (typeof disposition !== 'string' || !Object.hasOwn(dispositions, disposition)) {
    throw invalid('sigaction: act', `expected 'SIG_DFL' or 'SIG_IGN', got ${show(disposition)}`)
  }
  const action = `{sa_handler=${disposition}, sa_mask=[], sa_flags=0}`
  return new Step('rt_sigaction', [number, dispositions[disposition]], {
    calls: () => [call('rt_sigaction', printSignal(number), action, 'NULL', '8')],
    hints: { EINVAL: 'SIGKILL and SIGSTOP can be neither ignored nor handled' },
  })
}
