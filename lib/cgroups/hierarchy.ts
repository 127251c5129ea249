// Where the v2 hierarchy is, where we are in it, and which controllers it has.
import { promises as fs } from 'node:fs'
import { posix } from 'node:path'
import { errnoNumber, invalid, KernelError, show } from '../errors.ts'
import { type Mount, readMountinfo } from '../mountinfo.ts'
import { codeOf, exists, isCgroup2, kernelError, readFile, readWords, writeFile } from './files.ts'
import { upwards } from './tree.ts'

function failure(errno: string, syscall: string, path: string, hint: string): KernelError {
  return new KernelError({ errno: errnoNumber(errno) ?? 0, syscall, path, hint })
}

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
 * Where the v2 hierarchy is mounted: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` where v1 holds the controllers.
 * From `/proc/self/mountinfo`.
 */
export async function mount(): Promise<string> {
  return (await findMount()).mountPoint
}

/** The directory of a process's cgroup in the v2 hierarchy, by `/proc/PID/cgroup`. */
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

/** Controllers that the v2 hierarchy has, at the root that is mounted here: `cgroup.controllers`. */
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

/** Why the v2 hierarchy doesn't have a controller: it is in a v1 hierarchy, disabled, or not compiled in; undefined if it does. */
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

/** Controllers that can tell the threads of one process apart. */
const threadable: readonly string[] = ['cpu', 'cpuset', 'pids']

/** A cgroup to write into, on the way down. */
interface Change {
  path: string
  missing: string[]
}

/** What would have to be written for the children of a cgroup to have the controllers; throws where a rule forbids it. */
async function planChanges(path: string, controllers: readonly string[]): Promise<Change[]> {
  const changes: Change[] = []
  for (const at of await upwards(path)) {
    const enabled = await readWords(at, 'cgroup.subtree_control')
    const missing = controllers.filter((controller) => !enabled.includes(controller))
    if (missing.length === 0) break
    await assertMayEnable(at, missing)
    changes.unshift({ path: at, missing })
  }
  const first = changes[0]
  if (first !== undefined) await assertHas(first)
  return changes
}

async function assertHas({ path, missing }: Change): Promise<void> {
  const has = await readWords(path, 'cgroup.controllers')
  const lacking = missing.filter((controller) => !has.includes(controller))
  if (lacking.length === 0) return
  const reasons = await Promise.all(
    lacking.map(
      async (name) =>
        (await explain(name)) ?? `${name} is not enabled for ${path}, by whoever manages the cgroup above`,
    ),
  )
  throw failure('ENOENT', 'write', `${path}/cgroup.subtree_control`, reasons.join('; '))
}

async function assertMayEnable(path: string, controllers: readonly string[]): Promise<void> {
  const file = `${path}/cgroup.subtree_control`
  const type = await readFile(path, 'cgroup.type').then(
    (text) => text.trim(),
    (error: unknown) => {
      // The root has no type, and may have processes.
      if (codeOf(error) === 'ENOENT') return undefined
      throw error
    },
  )
  if (type === undefined) return
  const domainOnly = controllers.filter((name) => !threadable.includes(name))
  if (type === 'domain invalid' || (type !== 'domain' && domainOnly.length > 0)) {
    const hint = `its type is '${type}': only ${threadable.join(', ')} can be enabled where threads are spread over cgroups`
    throw failure('EOPNOTSUPP', 'write', file, hint)
  }
  if (type !== 'domain') return
  // pids and cpu could be written, and then its children would be 'domain invalid', which can have no process.
  if ((await readWords(path, 'cgroup.procs')).length > 0) {
    const hint =
      `the cgroup has processes of its own, so that ${controllers.join(', ')} can not be enabled for those below it ` +
      '(no internal processes): move them into a child, or create beside it'
    throw failure('EBUSY', 'write', file, hint)
  }
}

export async function enable(path: string, controllers: readonly string[]): Promise<void> {
  if (!Array.isArray(controllers))
    throw invalid('controllers', `expected an array of names, got ${show(controllers)}`)
  for (const [i, name] of (controllers as unknown[]).entries()) {
    if (typeof name === 'string' && /^[a-z0-9_]+$/.test(name)) continue
    throw invalid(
      `controllers[${String(i)}]`,
      `expected a controller's name such as 'pids', got ${show(name)}`,
    )
  }
  for (const change of await planChanges(path, [...new Set(controllers)])) {
    await writeFile(change.path, 'cgroup.subtree_control', change.missing.map((name) => `+${name}`).join(' '))
  }
}

/** Throws if enable() would, as far as can be known; needs no permission. */
async function assertMayHold(path: string, controllers: readonly string[]): Promise<void> {
  const { W_OK, X_OK } = fs.constants
  try {
    await fs.access(path, W_OK | X_OK)
    for (const change of await planChanges(path, controllers)) {
      await fs.access(`${change.path}/cgroup.subtree_control`, W_OK)
    }
  } catch (error) {
    throw kernelError(error)
  }
}

/** Where a cgroup goes that is given no parent: below the caller's own, or the nearest above it where the rules allow it. */
export async function defaultParent(controllers: readonly string[]): Promise<string> {
  const refusals: KernelError[] = []
  const chain = await upwards(await pathOf())
  const top = chain.at(-1)
  if (top !== undefined) await assertHas({ path: top, missing: [...controllers] })
  for (const path of chain) {
    try {
      await assertMayHold(path, controllers)
      return path
    } catch (error) {
      if (!(error instanceof KernelError)) throw error
      refusals.push(error)
    }
  }
  throw noPlace(refusals)
}

function noPlace(refusals: readonly KernelError[]): KernelError {
  const seen = refusals.map(({ code, path }) => `${code} ${path ?? ''}`).join(', ')
  const denied = refusals.find(({ code }) => code === 'EACCES' || code === 'EPERM')
  const first = denied ?? refusals[0]
  const advice =
    denied === undefined
      ? (first?.hint ?? '')
      : 'an ordinary user needs a delegated subtree: start in one with `systemd-run --user --scope -p Delegate=yes …`, ' +
        'or let root make a directory, chown it and its cgroup.procs and cgroup.subtree_control, and start there'
  const hint = `${advice} (tried ${seen})`
  return failure(first?.code ?? 'ENOENT', 'mkdir', first?.path ?? '/sys/fs/cgroup', hint)
}
