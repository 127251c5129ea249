// Whose a cgroup is: its directory's name carries the process that made it, so that others can tell when that is dead.
import { promises as fs } from 'node:fs'
import { codeOf } from './files.ts'

export interface Owner {
  /** Inode of its pid namespace: a pid of another one says nothing. */
  namespace: string
  pid: number
  /** Clock ticks since boot, as the maker saw it. */
  start: string
}

const pattern = /^fancyproc\.(\d+)\.(\d+)\.(\d+)\./

export function parseOwner(name: string): Owner | undefined {
  const [, namespace, pid, start] = pattern.exec(name) ?? []
  if (namespace === undefined || pid === undefined || start === undefined) return undefined
  return { namespace, pid: Number(pid), start }
}

/** `fancyproc.<pid namespace>.<pid>.<start time>.` of this process. */
export async function ownPrefix(): Promise<string> {
  return `fancyproc.${await pidNamespace()}.${String(process.pid)}.${startTime(await fs.readFile('/proc/self/stat', 'utf8'))}.`
}

async function pidNamespace(): Promise<string> {
  return inode(await fs.readlink('/proc/self/ns/pid'))
}

function inode(link: string): string {
  return /\[(\d+)\]$/.exec(link)?.[1] ?? '0'
}

/** Field 22; the second one, the program's name, may hold spaces and brackets. */
function startTime(stat: string): string {
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '0'
}

/** Why the owner is not known to be dead; undefined if it is. When in doubt, it lives. */
export async function ownerLives({ namespace, pid, start }: Owner): Promise<string | undefined> {
  if (namespace !== (await pidNamespace())) return 'its owner belongs to another pid namespace'
  try {
    // Not by /proc, which may hide other users' processes.
    process.kill(pid, 0)
  } catch (error) {
    if (codeOf(error) === 'ESRCH') return undefined
  }
  const lives = `its owner ${String(pid)} lives`
  try {
    // A /proc of another pid namespace shows other processes under these numbers.
    if ((await fs.readlink('/proc/self')) !== String(process.pid)) return lives
    if (startTime(await fs.readFile(`/proc/${String(pid)}/stat`, 'utf8')) === start) return lives
    // In another time namespace the owner reads another start time of itself.
    return (await timeNamespace(String(pid))) === (await timeNamespace('self')) ? undefined : lives
  } catch {
    return lives
  }
}

async function timeNamespace(pid: string): Promise<string | undefined> {
  try {
    return await fs.readlink(`/proc/${pid}/ns/time`)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined // before Linux 5.6
    throw error
  }
}
