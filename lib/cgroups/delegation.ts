// Which part of the hierarchy an ordinary user may use, and giving him one.
import { promises as fs } from 'node:fs'
import { KernelError } from '../errors.ts'
import { assertHas, planChanges } from './controllers.ts'
import { failure, kernelError } from './files.ts'
import { pathOf } from './hierarchy.ts'
import { upwards } from './tree.ts'

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
