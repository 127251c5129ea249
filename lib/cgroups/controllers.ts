// cgroup.subtree_control: which controllers the cgroups below have, and the rules of it.
import { invalid, show } from '../errors.ts'
import { isGone } from './events.ts'
import { members, typeOf } from './facts.ts'
import { failure, readWords, writeFile } from './files.ts'
import { explain } from './hierarchy.ts'
import { subtree, upwards } from './tree.ts'

/** Controllers that can tell the threads of one process apart. */
export const threadable: readonly string[] = ['cpu', 'cpuset', 'pids']

/** A cgroup to write into, on the way down. */
interface Change {
  path: string
  missing: string[]
}

/** What would have to be written for the children of a cgroup to have the controllers; throws where a rule forbids it. */
export async function planChanges(path: string, controllers: readonly string[]): Promise<Change[]> {
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

export async function assertHas({ path, missing }: Change): Promise<void> {
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
  const type = await typeOf(path)
  // The root has no type, and may have processes.
  if (type === undefined) return
  const domainOnly = controllers.filter((name) => !threadable.includes(name))
  if (type === 'domain invalid' || (type !== 'domain' && domainOnly.length > 0)) {
    const hint = `its type is '${type}': only ${threadable.join(', ')} can be enabled where threads are spread over cgroups`
    throw failure('EOPNOTSUPP', 'write', file, hint)
  }
  if (type !== 'domain') return
  // pids and cpu could be written, and then its children would be 'domain invalid', which can have no process.
  const own = await members(path)
  if (own !== undefined) {
    const hint =
      `the cgroup has processes of its own (${own}), so that ${controllers.join(', ')} can not be enabled for ` +
      'those below it (no internal processes): move them into a child, or create beside it'
    throw failure('EBUSY', 'write', file, hint)
  }
}

function checkControllers(controllers: unknown): string[] {
  if (!Array.isArray(controllers)) {
    throw invalid('controllers', `expected an array of names, got ${show(controllers)}`)
  }
  for (const [i, name] of (controllers as unknown[]).entries()) {
    if (typeof name === 'string' && /^[a-z0-9_]+$/.test(name)) continue
    throw invalid(
      `controllers[${String(i)}]`,
      `expected a controller's name such as 'pids', got ${show(name)}`,
    )
  }
  return [...new Set(controllers as string[])]
}

export async function enable(path: string, controllers: readonly string[]): Promise<void> {
  for (const change of await planChanges(path, checkControllers(controllers))) {
    await writeFile(change.path, 'cgroup.subtree_control', change.missing.map((name) => `+${name}`).join(' '))
  }
}

/** Deepest first: the kernel refuses while a cgroup below has it enabled. */
export async function disable(path: string, controllers: readonly string[]): Promise<void> {
  const wanted = checkControllers(controllers)
  for (const at of await subtree(path)) {
    try {
      const enabled = await readWords(at, 'cgroup.subtree_control')
      const change = wanted.filter((name) => enabled.includes(name)).map((name) => `-${name}`)
      if (change.length > 0) await writeFile(at, 'cgroup.subtree_control', change.join(' '))
    } catch (error) {
      // One below may go meanwhile.
      if (at === path || !isGone(error)) throw error
    }
  }
}
