// Delegation: giving a subtree to an ordinary user, and finding the one that he was given.
import { promises as fs } from 'node:fs'
import { dirname, join } from 'node:path'
import { KernelError } from '../errors.ts'
import { native } from '../native.ts'
import { id } from '../steps/arguments.ts'
import { assertHas, planChanges } from './controllers.ts'
import { children, mayWrite } from './facts.ts'
import { exists, failure, kernelError } from './files.ts'
import { pathOf } from './hierarchy.ts'
import { upwards } from './tree.ts'

const { W_OK, X_OK } = fs.constants

async function chown(path: string, uid: number, gid: number): Promise<void> {
  try {
    await fs.chown(path, uid, gid)
  } catch (error) {
    throw kernelError(error, {}, { EPERM: 'only root, with CAP_CHOWN, can give a cgroup to another user' })
  }
}

/** Names of the files that belong to whom a cgroup is delegated to; others stay with the cgroup above. */
async function delegatable(): Promise<string[]> {
  try {
    return (await fs.readFile('/sys/kernel/cgroup/delegate', 'utf8'))
      .split('\n')
      .filter((name) => name !== '')
  } catch (error) {
    throw kernelError(error, {}, { ENOENT: 'sysfs is not mounted at /sys' })
  }
}

export async function delegate(path: string, uid: number, gid: number): Promise<void> {
  id(uid, 'delegate: uid')
  id(gid, 'delegate: gid')
  const undo: (() => Promise<void>)[] = []
  try {
    for (const name of [...(await delegatable()), '']) {
      const file = join(path, name)
      // Those of a controller that it doesn't have.
      if (!(await exists(file))) continue
      const before = await fs.stat(file)
      await chown(file, uid, gid)
      undo.push(() => chown(file, before.uid, before.gid))
    }
  } catch (error) {
    for (const restore of undo) await restore().catch(() => undefined)
    throw kernelError(error)
  }
}

/** Whether the caller may make cgroups in it, and move processes within it. */
async function isOurs(path: string): Promise<boolean> {
  return (await mayWrite(path)) && mayWrite(`${path}/cgroup.procs`)
}

/** Whether systemd says that what is below is not its own business; the second is of versions before 251, and for root's eyes. */
async function isMarked(path: string): Promise<boolean> {
  for (const name of ['user.delegate', 'trusted.delegate']) {
    const value = await native().getxattr(path, name, true)
    if (typeof value !== 'number' && Buffer.from(value).toString() === '1') return true
  }
  return false
}

/**
 * `user.delegate`, an extended attribute, and permissions: the top of the subtree that was delegated to the caller,
 * who can make cgroups in it and move processes within it: the nearest, from his own cgroup upwards, that systemd
 * has marked so (`Delegate=yes`), else the highest that he may write to. Undefined: there is none, or he does not
 * run in it. Since Linux 4.5; the mark since 5.7.
 *
 * Acts on: nothing. Needs /proc.
 *
 * Errnos: those of `pathOf()`.
 *
 * See Documentation/admin-guide/cgroup-v2.
 */
export async function delegated(): Promise<string | undefined> {
  let top: string | undefined
  for (const path of await upwards(await pathOf())) {
    if (!(await isOurs(path))) continue
    if (await isMarked(path)) return path
    top = path
  }
  return top
}

/** Throws if the caller couldn't make one below that has the controllers, and move himself there; as far as can be known. */
async function assertMayHold(path: string, controllers: readonly string[]): Promise<void> {
  try {
    await fs.access(path, W_OK | X_OK)
    await fs.access(`${path}/cgroup.procs`, W_OK)
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
  throw await noPlace(refusals, chain)
}

async function noPlace(refusals: readonly KernelError[], chain: readonly string[]): Promise<KernelError> {
  const seen = refusals.map(({ code, path }) => `${code} ${path ?? ''}`).join(', ')
  const denied = refusals.find(({ code }) => code === 'EACCES' || code === 'EPERM')
  // What keeps him from it in his own subtree, if he has one, rather than the doors of others.
  const telling =
    refusals.find(({ code }) => code === 'EBUSY' || code === 'EOPNOTSUPP') ?? denied ?? refusals[0]
  const advice = telling === denied ? await adviceFor(chain) : (telling?.hint ?? '')
  const hint = `${advice} (tried ${seen})`
  return failure(telling?.code ?? 'ENOENT', 'mkdir', telling?.path ?? '/sys/fs/cgroup', hint)
}

const start = '`systemd-run --user --scope -p Delegate=yes …`'

async function adviceFor(chain: readonly string[]): Promise<string> {
  const elsewhere = await ownElsewhere(chain)
  if (elsewhere === undefined) {
    return (
      `an ordinary user needs a delegated subtree: start in one with ${start}, ` +
      'or let root delegate() one to him, and start in it'
    )
  }
  return (
    `${elsewhere} is this user's, but this process is not in it, and to move there takes write permission on cgroup.procs ` +
    `of ${dirname(elsewhere)}, too: start in it with ${start}, or let root move it there`
  )
}

/** A subtree of the caller's that he is not in: that of his systemd, or beside one of those above him. */
async function ownElsewhere(chain: readonly string[]): Promise<string | undefined> {
  const uid = String(process.getuid?.())
  const manager = `${chain.at(-1) ?? ''}/user.slice/user-${uid}.slice/user@${uid}.service`
  for (const path of [manager, ...(await Promise.all(chain.map(children))).flat()]) {
    if (await isOurs(path)) return path
  }
  return undefined
}
