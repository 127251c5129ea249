import { type Dirent, promises as fs } from 'node:fs'
import { boolean, options as checkOptions } from '../steps/arguments.ts'
import type { Cgroup } from './cgroup.ts'
import { directoryOf, openCgroup } from './open.ts'
import { isGone, readEvents } from './events.ts'
import { kernelError } from './files.ts'
import { pathOf } from './hierarchy.ts'
import { ownerLives, parseOwner } from './owner.ts'
import { removeTree, upwards } from './tree.ts'

export interface SweepOptions {
  /** Look only below this one. Default: below the caller's own cgroup and each above it, where `create()` puts them. */
  parent?: Cgroup | string | undefined
  /** Also kills what a dead owner left running. Default: false, which keeps such cgroups. */
  kill?: boolean | undefined
}

export interface Swept {
  /** Directories that are gone now. */
  removed: string[]
  /** Those that had to stay, and why. */
  kept: { path: string; reason: string }[]
}

/**
 * `rmdir(2)` of cgroups whose owner died without disposing of them. Detached ones, and those of living owners,
 * stay. Since Linux 4.5.
 *
 * Acts on: cgroups below the caller's own, and below each above that, or below `parent`. Needs write permission on
 * the cgroup above; what stays is told with the reason.
 *
 * | errno  | when |
 * |--------|------|
 * | ENOENT | the hierarchy is not mounted, or there is no such parent |
 * | EACCES | a directory may not be read |
 *
 * See Documentation/admin-guide/cgroup-v2.
 */
export async function sweep(options: SweepOptions = {}): Promise<Swept> {
  const swept: Swept = { removed: [], kept: [] }
  const { parent, kill = false } = checkOptions<SweepOptions>(options, 'sweep', ['parent', 'kill'])
  boolean(kill, 'sweep: kill')
  const places =
    parent === undefined ? await upwards(await pathOf()) : [await directoryOf(parent, 'sweep: parent')]
  for (const place of places) {
    for (const entry of await list(place)) {
      if (entry.isDirectory()) await sweepOne(place, entry.name, kill, swept)
    }
  }
  return swept
}

async function list(place: string): Promise<Dirent[]> {
  try {
    return await fs.readdir(place, { withFileTypes: true })
  } catch (error) {
    throw kernelError(error)
  }
}

async function sweepOne(place: string, name: string, kill: boolean, swept: Swept): Promise<void> {
  const owner = parseOwner(name)
  if (owner === undefined) return
  const path = `${place}/${name}`
  const reason = (await ownerLives(owner)) ?? (await removeOrphan(path, kill))
  if (reason === undefined) swept.removed.push(path)
  else swept.kept.push({ path, reason })
}

/** Why it couldn't be removed. */
async function removeOrphan(path: string, kill: boolean): Promise<string | undefined> {
  try {
    if (kill) {
      const orphan = await openCgroup(path)
      await orphan.remove({ kill })
      return undefined
    }
    if ((await readEvents(path)).populated || (await removeTree(path)) !== undefined)
      return 'it still has processes'
    return undefined
  } catch (error) {
    // Another sweep was faster.
    if (isGone(error)) return undefined
    return error instanceof Error ? error.message : String(error)
  }
}
