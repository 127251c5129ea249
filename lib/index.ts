export { apparmor } from './apparmor.ts'
export type { Confinement } from './apparmor.ts'
export { cgroups } from './cgroups.ts'
export type { Changes } from './changes.ts'
export type {
  AcceptedValue,
  Bandwidth,
  Cgroup,
  CgroupEvents,
  CgroupFiles,
  CgroupValue,
  Counters,
  CreateOptions,
  DeviceProgram,
  DeviceRule,
  FileValue,
  GivenValue,
  Pressure,
  ReadableFile,
  EventChange,
  EventFile,
  ReclaimOptions,
  RemoveOptions,
  Swept,
  SweepOptions,
  WaitOptions,
  Weights,
  WritableFile,
} from './cgroups.ts'
export { KernelError } from './errors.ts'
export type { Exit, Reason, Usage } from './exit.ts'
export { Fd } from './fd.ts'
export type { FdLike } from './fd.ts'
export { inNamespaces } from './in-namespaces.ts'
export type { InNamespacesOptions } from './in-namespaces.ts'
export { isolation } from './isolation.ts'
export type {
  Compared,
  Isolation,
  IsolationOptions,
  IsolationRow,
  Limit,
  LimitFile,
  Limits,
  Root,
} from './isolation.ts'
export { joinSteps } from './join.ts'
export type { Inherited } from './inherit.ts'
export type { JoinOptions, JoinSteps, NamespaceFds, Target } from './join.ts'
export { parseMountinfo, readMountinfo } from './mountinfo.ts'
export type { Mount } from './mountinfo.ts'
export { namespaces } from './namespaces.ts'
export type {
  CreatedNamespaces,
  HeldNamespace,
  NamespaceFd,
  NamespaceHolder,
  NamespaceInfo,
  NamespaceMount,
  NamespacePool,
  NamespacesOptions,
  NamespaceTarget,
  PoolOptions,
} from './namespaces.ts'
export type { Signal, SpawnOptions, Stdio, StdioEntry } from './options.ts'
export type { Process } from './process.ts'
export type { CapabilitySets, Ids, ProcessField, ProcessInfo, Seccomp, Terminal } from './processes/info.ts'
export type { Results } from './perform.ts'
export type { ProcessLike } from './pinned.ts'
export { pressure } from './pressure.ts'
export type { PressureLevel, PressureResource, Pressures, TriggerOptions } from './pressure.ts'
export { processes } from './processes.ts'
export type { ForeignExit, ProcessHandle } from './processes/handle.ts'
export type { ProcessEvent, ProcessWatch, WatchProcessesOptions } from './processes/watch.ts'
export { probe } from './probe.ts'
export type { Answer, Probe } from './probe.ts'
export { ps } from './ps.ts'
export type { PsOptions } from './ps.ts'
export type { Pty } from './pty.ts'
export { run } from './run.ts'
export type { RunOptions, RunResult } from './run.ts'
export { Context, Level, Range, selinux } from './selinux.ts'
export type {
  AllocateOptions,
  Attributes,
  Categories,
  ChooseLabel,
  ContextFields,
  ContextLike,
  Decision,
  PolicyBoolean,
  RelabelCounts,
  RelabelOptions,
  RelabelStat,
  SelinuxOn,
  SelinuxStatus,
} from './selinux.ts'
export { spawn } from './spawn.ts'
export { format, Step } from './step.ts'
export type { Call, FdStep, Steps } from './step.ts'
export type { Namespace } from './steps/namespace.ts'
