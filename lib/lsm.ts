import { requireAppArmor } from './apparmor.ts'
import { requireSelinux } from './selinux.ts'
import type { LsmStep } from './steps/lsm.ts'

/** Throws where the step's security module is off: a label that nobody reads must not be taken for one. */
export function requireModule({ module, operation, path }: LsmStep): void {
  if (module === 'selinux') requireSelinux(operation, path)
  else requireAppArmor(operation, path)
}
