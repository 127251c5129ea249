// Where the v2 hierarchy is, where we are in it, and which controllers it has.
import { promises as fs } from 'node:fs'
import { posix } from 'node:path'
import { invalid, show } from '../errors.ts'
import { type Mount, readMountinfo } from '../mountinfo.ts'
import { exists, failure, isCgroup2, kernelError, readWords } from './files.ts'

async function findMount(within?: string): Promise<Mount> {
  const mounts = await readMountinfo()
  for (const mount of mounts) {
    if (mount.type !== 'cgroup2' || (within !== undefined && below(mount.root, within) === undefined))
      continue
    // Something else may be mounted over it.
    if (await isCgroup2(mount.mountPoint).catch(() => false)) return mount
  }
  throw failure('ENOENT', 'statfs', '/sys/fs/cgroup', noMountHint(mounts, within))
}

function noMountHint(mounts: readonly Mount[], within: string | undefined): string {
  if (within !== undefined && mounts.some(({ type }) => type === 'cgroup2')) {
    return `the cgroup ${within} of this process lies outside of what is mounted here`
  }
  const others = mounts.filter(({ type }) => type === 'cgroup').map(({ mountPoint }) => mountPoint)
  const there =
    others.length === 0 ? 'no cgroup hierarchy is mounted' : `only v1 is mounted (${others.join(', ')})`
  return `${there}: as root, mount -t cgroup2 none DIRECTORY`
}

/** The path relative to a directory that holds it. */
function below(directory: string, path: string): string | undefined {
  const relative = posix.relative(directory, path)
  return relative === '..' || relative.startsWith('../') ? undefined : relative
}

/**
 * `/proc/self/mountinfo`: where the v2 hierarchy is mounted: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` where v1
 * holds the controllers. Since Linux 4.5.
 *
 * Acts on: nothing. Needs /proc.
 *
 * | errno  | when |
 * |--------|------|
 * | ENOENT | it is not mounted |
 *
 * See Documentation/admin-guide/cgroup-v2.
 */
export async function mount(): Promise<string> {
  return (await findMount()).mountPoint
}

/**
 * `/proc/self/mountinfo`: options that it is mounted with: `nsdelegate` (the top of a cgroup namespace is as if
 * delegated), `memory_recursiveprot`, `memory_localevents`, `favordynmods` (6.0), … Since Linux 4.5.
 *
 * Acts on: nothing. Needs /proc.
 *
 * Errnos: those of `mount()`.
 *
 * See Documentation/admin-guide/cgroup-v2.
 */
export async function mountOptions(): Promise<string[]> {
  const { superOptions } = await findMount()
  return superOptions.filter((option) => !['rw', 'ro', 'seclabel'].includes(option))
}

/**
 * `/proc/PID/cgroup`: the directory of a process's cgroup in the v2 hierarchy. Since Linux 4.5.
 *
 * Acts on: a process of the pid namespace that /proc shows. Needs /proc.
 *
 * | errno  | when |
 * |--------|------|
 * | ENOENT | there is no such process, or its cgroup lies outside of what is mounted here |
 * | ESRCH  | it has ended |
 *
 * See Documentation/admin-guide/cgroup-v2.
 */
export async function pathOf(pid: number | 'self' = 'self'): Promise<string> {
  const file = `/proc/${String(pid)}/cgroup`
  let text: string
  try {
    text = await fs.readFile(file, 'utf8')
  } catch (error) {
    throw kernelError(error, {}, { ENOENT: 'there is no such process' })
  }
  const path = /^0::(\/.*)$/m.exec(text)?.[1]
  if (path === undefined)
    throw failure('ENOENT', 'open', file, 'this kernel has no v2 hierarchy (no line 0::)')
  const { mountPoint, root } = await findMount(path)
  return posix.join(mountPoint, below(root, path) ?? '')
}

/**
 * `cgroup.controllers` of the root that is mounted here: controllers that the v2 hierarchy has. Since Linux 4.5.
 *
 * Acts on: nothing. Needs no privilege.
 *
 * Errnos: those of `mount()`.
 *
 * See Documentation/admin-guide/cgroup-v2.
 */
export async function available(): Promise<string[]> {
  return readWords(await mount(), 'cgroup.controllers')
}

/** v1's names of what v2 has under another. */
const renamed: Readonly<Record<string, string>> = {
  blkio: "v2 calls it 'io'",
  cpuacct: "in v2 it is a part of 'cpu' (cpu.stat)",
  freezer: 'in v2 it is a part of every cgroup (cgroup.freeze)',
  devices: 'v2 controls devices by eBPF',
  net_cls: 'v2 has it not: netfilter and eBPF match the cgroup itself',
  net_prio: 'v2 has it not: netfilter and eBPF match the cgroup itself',
  perf_event: 'v2 has it in every cgroup, with nothing to enable',
}

/**
 * `/proc/cgroups` and mountinfo: why the v2 hierarchy doesn't have a controller: it is in a v1 hierarchy, disabled,
 * or not compiled in; undefined if it does. Since Linux 4.5.
 *
 * Acts on: nothing. Needs /proc.
 *
 * Errnos: those of `mount()`.
 *
 * See Documentation/admin-guide/cgroup-v2.
 */
export async function explain(controller: string): Promise<string | undefined> {
  if (typeof controller !== 'string') throw invalid('controller', `expected a name, got ${show(controller)}`)
  const top = await mount()
  if ((await readWords(top, 'cgroup.controllers')).includes(controller)) return undefined
  const old = controller === 'io' ? 'blkio' : controller
  const v1 = (await readMountinfo()).find(
    ({ type, superOptions }) => type === 'cgroup' && superOptions.includes(old),
  )
  const advice = renamed[controller] === undefined ? '' : `; ${renamed[controller]}`
  if (v1 !== undefined) return `${controller} is in the v1 hierarchy mounted at ${v1.mountPoint}${advice}`
  const row = (await fs.readFile('/proc/cgroups', 'utf8').catch(() => ''))
    .split('\n')
    .map((line) => line.split('\t'))
    .find(([name]) => name === old)
  if (row?.[3] === '0') return `${controller} is disabled on the kernel's command line (cgroup_disable=)`
  if (row !== undefined && row[1] !== '0') {
    return `${controller} is in a v1 hierarchy (number ${row[1] ?? ''} in /proc/cgroups) that is not mounted here${advice}`
  }
  if (renamed[controller] !== undefined) return `${controller} is a controller of v1 only${advice}`
  if (await exists(`${top}/cgroup.type`)) {
    return `${controller} is not enabled for ${top}, whose cgroups above are not visible here: whoever manages those must enable it`
  }
  if (row !== undefined) return `${controller} is known to the kernel, but its v2 hierarchy doesn't have it`
  return `${controller} is no controller that this kernel was compiled with`
}
