// What its cgroup v2, and those above, allow a process.
import { promises as fs } from 'node:fs'
import { pathOf } from '../cgroups/hierarchy.ts'
import { upwards } from '../cgroups/tree.ts'
import { KernelError } from '../errors.ts'

/** A limit that a cgroup sets to a process: the least of those in its cgroup and above. */
export interface Limit {
  /** Bytes; processes; CPUs, for cpu.max. */
  value: number
  /** The directory of the cgroup whose limit that is. */
  cgroup: string
}

/** Its interface file, for each limit that is in force. */
export type Limits = Partial<Record<LimitFile, Limit>>

export type LimitFile = 'memory.max' | 'memory.high' | 'memory.swap.max' | 'pids.max' | 'cpu.max'

const files: readonly LimitFile[] = ['memory.max', 'memory.high', 'memory.swap.max', 'pids.max', 'cpu.max']

/** 'max', '1048576', or of cpu.max '50000 100000': quota and period. */
function parse(text: string): number {
  const [limit = 'max', period] = text.trim().split(' ')
  if (limit === 'max') return Infinity
  return period === undefined ? Number(limit) : Number(limit) / Number(period)
}

/** Undefined where there is no v2 hierarchy that shows its cgroup. */
export async function limitsOf(pid: number): Promise<Limits | undefined> {
  let chain: string[]
  try {
    chain = await upwards(await pathOf(pid))
  } catch (error) {
    if (error instanceof KernelError) return undefined
    throw error
  }
  const limits: Limits = {}
  for (const file of files) {
    for (const cgroup of chain) {
      // The root has none, nor has a cgroup without the controller.
      const text = await fs.readFile(`${cgroup}/${file}`, 'utf8').catch(() => 'max')
      const value = parse(text)
      if (value < (limits[file]?.value ?? Infinity)) limits[file] = { value, cgroup }
    }
  }
  return limits
}
