// Lists that the kernel would take, and that would not do what is written.
import { invalid } from '../errors.ts'
import { lastIndexOf, type Step } from '../step.ts'
import { LsmStep } from './lsm.ts'

/** PR_SET_PDEATHSIG of prctl(2). */
export const PR_SET_PDEATHSIG = 1

/** CLONE_NEWUSER */
const NEWUSER = 0x1000_0000

/** Steps by which execve changes the label, and those that change it at once. */
const atExecve = { setexeccon: 'setcon', aa_change_onexec: 'aaChangeProfile' }

/** Why a step that comes later forgets the parent-death signal, if it does. */
function forgets({ operation, args }: Step): string | undefined {
  if (operation === 'setresuid' || operation === 'setresgid') return 'the kernel clears it when an id changes'
  if (operation === 'clone') return 'a new process does not inherit it'
  if (operation === 'setns' && Number(args[1]) & NEWUSER)
    return 'the kernel clears it when credentials change'
  return undefined
}

/** Refuses a list in which a step is silently undone by another. */
export function validateOrder(
  steps: readonly Step[],
  name = (index: number): string => `steps[${String(index)}]`,
): void {
  if (lastIndexOf(steps, 'prctl') < 0) return
  let armed = -1
  for (const [index, step] of steps.entries()) {
    if (step.operation === 'prctl' && step.args[0] === PR_SET_PDEATHSIG)
      armed = Number(step.args[1]) === 0 ? -1 : index
    const reason = armed < 0 ? undefined : forgets(step)
    if (reason === undefined) continue
    throw invalid(
      name(armed),
      `${String(steps[armed])} is undone by ${name(index)}, ${step.operation}: ${reason}; put it behind`,
    )
  }
  if (armed < 0) return
  // That happens at execve, so no place in the list would help.
  for (const [operation, instead] of Object.entries(atExecve)) {
    const last = lastIndexOf(steps, operation)
    const step = steps[last]
    if (!(step instanceof LsmStep) || !step.changesAtExecve) continue
    throw invalid(
      name(armed),
      `${String(steps[armed])} is undone by ${name(last)}, ${operation}: the kernel clears it at an execve that changes ` +
        `the label; have the program set it, or change the label by ${instead}, which keeps it, if the policy allows that`,
    )
  }
}
