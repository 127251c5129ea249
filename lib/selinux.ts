// What libselinux has, mostly under its names: labels are read, decided upon and given to files without it.
import * as attributes from './selinux/attributes.ts'
import { allocateCategories } from './selinux/categories.ts'
import { enabled } from './selinux/enabled.ts'
import {
  fgetfilecon,
  fsetfilecon,
  getfilecon,
  lgetfilecon,
  lsetfilecon,
  setfilecon,
} from './selinux/files.ts'
import * as policy from './selinux/policy.ts'
import { relabel } from './selinux/relabel.ts'

export type { Attributes } from './selinux/attributes.ts'
export type { AllocateOptions, Categories } from './selinux/categories.ts'
export { Context, type ContextFields, type ContextLike, Level, Range } from './selinux/context.ts'
export { requireSelinux } from './selinux/enabled.ts'
export type { Decision, PolicyBoolean, SelinuxOn, SelinuxStatus } from './selinux/policy.ts'
export type { ChooseLabel, RelabelCounts, RelabelOptions, RelabelStat } from './selinux/relabel.ts'

const files = { getfilecon, lgetfilecon, fgetfilecon, setfilecon, lsetfilecon, fsetfilecon, relabel }

/** Labels are per thread: what is asked of oneself is asked of the calling thread, at once. */
export const selinux = { enabled, ...attributes, ...policy, ...files, allocateCategories } as const
