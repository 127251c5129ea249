// Whether it was the OOM killer.
import { readFileSync, readlinkSync } from 'node:fs'
import { dirname } from 'node:path'
import { type FdLike, fdNumber } from '../fd.ts'
import { isRemoved } from './facts.ts'
import { codeOf } from './files.ts'
import { getFile } from './values.ts'

/** `oom_kill` of the cgroup that the memory of a process in `path` is charged to: itself, or the nearest above it. */
function countKills(path: string): number | undefined {
  for (let at = path; at !== dirname(at); at = dirname(at)) {
    try {
      const count = /^oom_kill (\d+)$/m.exec(readFileSync(`${at}/memory.events.local`, 'utf8'))?.[1]
      return count === undefined ? undefined : Number(count)
    } catch {
      // Memory is not among the controllers here; or there is no cgroup any more, nor above the hierarchy's root.
    }
  }
  return undefined
}

/**
 * Counts now, and tells later whether the OOM killer has taken a process of this cgroup since. Synchronous: kernfs
 * answers from memory.
 */
export function countOomKills(cgroup: FdLike): () => boolean {
  const path = readlinkSync(`/proc/self/fd/${String(fdNumber(cgroup, 'cgroup'))}`)
  const before = countKills(path)
  return () => before !== undefined && (countKills(path) ?? 0) > before
}

export async function oomKills(path: string): Promise<number | undefined> {
  try {
    return (await getFile(path, 'memory.events')).oom_kill
  } catch (error) {
    if (codeOf(error) === 'ENOENT' && !(await isRemoved(path))) return undefined
    throw error
  }
}
