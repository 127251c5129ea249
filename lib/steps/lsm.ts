// lsm_set_self_attr(2), which sets what a security module keeps of the calling thread.
import { release } from 'node:os'
import { lastIndexOf, type SecurityModule, Step, type StepDetails } from '../step.ts'
import { call, quote } from './strace.ts'

/** What a page holds behind the header of struct lsm_ctx. */
export const ATTRIBUTE_MOST = 4096 - 32

/** lsm_set_self_attr(2) needs no /proc; the native side uses it where there is one. */
function hasSystemCall(): boolean {
  const [major = 0, minor = 0] = release().split('.').map(Number)
  return major > 6 || (major === 6 && minor >= 8)
}

/** A step that sets a label. */
export class LsmStep extends Step {
  /** The context or profile; empty when it undoes an earlier step. */
  get label(): string {
    return this.path ?? ''
  }

  /** Whether execve changes the label of the process, which then has no parent-death signal. */
  get changesAtExecve(): boolean {
    if (this.operation === 'setexeccon') return this.label !== ''
    // Out of confinement nothing is cleared.
    return this.operation === 'aa_change_onexec' && this.label !== 'unconfined'
  }
}

interface Attribute {
  module: SecurityModule
  attribute: 'current' | 'exec' | 'fscreate' | 'keycreate' | 'sockcreate'
  /** Without one, an empty value. */
  label: string
  /** What is written, where it is not the label alone. */
  value?: string
  hints: StepDetails['hints']
}

/** The step that sets an attribute. */
export function setAttribute(
  operation: string,
  { module, attribute, label, value = label, hints }: Attribute,
) {
  return new LsmStep(operation, [value], {
    path: label === '' ? undefined : label,
    module,
    hints,
    calls: () => {
      if (hasSystemCall()) {
        const size = (32 + Buffer.byteLength(value) + 7) & ~7
        const data = `{id=LSM_ID_${module.toUpperCase()}, flags=0, ctx=${quote(value)}}`
        return [call('lsm_set_self_attr', `LSM_ATTR_${attribute.toUpperCase()}`, data, String(size), '0')]
      }
      const file = `thread-self/attr/${module === 'apparmor' ? 'apparmor/' : ''}${attribute}`
      // An empty write is no write: a newline clears.
      const written = value === '' ? '\n' : value
      return [
        call('openat', '<proc>', `"${file}"`, 'O_WRONLY|O_CLOEXEC'),
        call('write', '<openat>', quote(written), String(Buffer.byteLength(written))),
        call('close', '<openat>'),
      ]
    },
  })
}

/** The index of the step that says which SELinux context the program will have, or -1. */
export function labelling(steps: readonly Step[]): number {
  const index = lastIndexOf(steps, 'setexeccon')
  // Its path is the context, which it has not if it undoes another.
  return steps[index]?.path === undefined ? lastIndexOf(steps, 'setcon') : index
}
