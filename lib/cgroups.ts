// cgroup v2: Documentation/admin-guide/cgroup-v2.
import type { Cgroup } from './cgroups/cgroup.ts'
import { openCgroup } from './cgroups/open.ts'
import { create } from './cgroups/create.ts'
import { delegated } from './cgroups/delegation.ts'
import { available, explain, mount, mountOptions, pathOf } from './cgroups/hierarchy.ts'
import { sweep } from './cgroups/sweep.ts'

export { Cgroup } from './cgroups/cgroup.ts'
export type { CreateOptions } from './cgroups/create.ts'
export type { DeviceProgram, DeviceRule } from './cgroups/devices.ts'
export type { CgroupEvents, WaitOptions } from './cgroups/events.ts'
export type { CgroupValue } from './cgroups/files.ts'
export type { Bandwidth, Counters, Pressure, Weights } from './cgroups/keyed.ts'
export { countOomKills } from './cgroups/oom.ts'
export type { ReclaimOptions } from './cgroups/reclaim.ts'
export type { RemoveOptions } from './cgroups/remove.ts'
export {
  assertSpawnable,
  type CgroupLike,
  cloneHint,
  openForSpawn,
  type SpawnTarget,
} from './cgroups/spawn.ts'
export type { Swept, SweepOptions } from './cgroups/sweep.ts'
export type {
  AcceptedValue,
  CgroupFiles,
  FileValue,
  GivenValue,
  ReadableFile,
  WritableFile,
} from './cgroups/values.ts'
export type { EventChange, EventFile } from './cgroups/watch.ts'

/**
 * `open(2)` with O_PATH: an existing cgroup, by the absolute path of its directory. Disposing of it closes the fd
 * only. Since Linux 4.5.
 *
 * Acts on: nothing. Needs to search the directories.
 *
 * | errno  | when |
 * |--------|------|
 * | ENOENT | there is no such cgroup |
 * | EBADF  | it is no directory of cgroup2 |
 * | EACCES | a directory may not be searched |
 *
 * See Documentation/admin-guide/cgroup-v2.
 */
function open(path: string): Promise<Cgroup> {
  return openCgroup(path)
}

/**
 * `/proc/self/cgroup`: the caller's own cgroup in the v2 hierarchy. Since Linux 4.5.
 *
 * Acts on: nothing. Needs /proc.
 *
 * Errnos: those of `pathOf()` and `open()`.
 *
 * See Documentation/admin-guide/cgroup-v2.
 */
async function current(): Promise<Cgroup> {
  return openCgroup(await pathOf())
}

export const cgroups = {
  create,
  open,
  current,
  pathOf,
  mount,
  mountOptions,
  delegated,
  available,
  explain,
  sweep,
} as const
