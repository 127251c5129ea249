// fancyproc/steps: kernel operations as plain values, for spawn().
export { type Call, type DataStep, FdStep, format, procfs, type Procfs, Step, type Steps } from '../step.ts'
export type { Flags } from '../flags.ts'
export * from './apparmor.ts'
export { AT_FDCWD, type ChildFd, childFd, type Directory, type Errnos, type FdArgument } from './arguments.ts'
export {
  type Capabilities,
  type Capability,
  capset,
  dropBounding,
  keepBounding,
  raiseAmbient,
} from './capability.ts'
export * from './directory.ts'
export { close, closeRange, type CloseRangeFlag, dup, type DupFlag, sendFd, type SendFdStep } from './fd.ts'
export * from './file.ts'
export {
  gidMap,
  type IdOrKeep,
  type IdRange,
  type MapStep,
  mapUser,
  setgroups,
  setgroupsDeny,
  setresgid,
  setresuid,
  uidMap,
} from './identity.ts'
export { joinSessionKeyring } from './key.ts'
export * from './mount.ts'
export {
  clone,
  type Namespace,
  type Namespaces,
  namespaces,
  setns,
  unshare,
  type Unshareable,
} from './namespace.ts'
export { type AtOptions, open, openat2, type OpenFlag, type OpenHow, type ResolveFlag } from './open.ts'
export * from './process.ts'
export * from './read.ts'
export * from './root.ts'
export * from './selinux.ts'
export { sigaction, type SignalName } from './signal.ts'
export * from './terminal.ts'
export * from './uts.ts'
