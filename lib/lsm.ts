import { requireAppArmor } from './apparmor.ts'
import { requireSelinux } from './selinux/enabled.ts'
import type { Step } from './step.ts'

/** Throws where the security module is off that the step needs: a label that nobody reads must not be taken for one. */
export function requireModule({ module, operation, path }: Step): void {
  if (module === 'selinux') requireSelinux(operation, path)
  if (module === 'apparmor') requireAppArmor(operation, path)
}
