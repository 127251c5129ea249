// What a refused read or write of an interface file means, with the cgroups and processes that are the reason.
import { promises as fs } from 'node:fs'
import { release } from 'node:os'
import { dirname, join } from 'node:path'
import { show } from '../errors.ts'
import { children, domainOf, mayWrite, members, peek, realPath, typeOf } from './facts.ts'
import { controllerOf, formatOf } from './interface.ts'

export type Hints = Readonly<Record<string, string | undefined>>

const removed = 'this cgroup has been removed'
const OUTSIDE =
  "cgroup2 is mounted with nsdelegate: nothing moves into or out of what the caller's cgroup namespace shows"
const delegate = 'an ordinary user needs a subtree that was delegated to him'

export async function readHint(
  path: string,
  file: string,
  code: string | undefined,
): Promise<string | undefined> {
  switch (code) {
    case 'ENODEV':
      return removed
    case 'ENOENT':
      return missing(path, file)
    case 'EOPNOTSUPP':
      return file.endsWith('.pressure')
        ? 'PSI is off on this kernel: it takes psi=1 on its command line'
        : 'a threaded cgroup lists its members in cgroup.threads only'
    default:
      return undefined
  }
}

export async function writeHint(
  at: string,
  file: string,
  value: string,
  code: string | undefined,
): Promise<string | undefined> {
  if (code === 'ENOENT') return missing(at, file)
  const path = realPath(at)
  if (code === 'ENODEV') {
    return /^(io|rdma)\./.test(file)
      ? `there is no such device (a partition is none), or ${removed}`
      : removed
  }
  if (file === 'cgroup.procs' || file === 'cgroup.threads') return moveHint(path, file, value, code)
  if (file === 'cgroup.subtree_control') return controlHint(path, value, code)
  switch (code) {
    case 'EINVAL':
      return `the kernel does not take ${show(value)} here`
    case 'ERANGE':
      return `${show(value)} is beyond what the kernel takes here`
    case 'EACCES':
      return delegate
    case 'EOPNOTSUPP':
      return file === 'cgroup.kill' ? 'it is threaded: kill the domain above it' : undefined
    case 'EAGAIN':
      return file === 'memory.reclaim' ? 'the kernel could not reclaim as much' : undefined
    default:
      return undefined
  }
}

async function moveHint(
  path: string,
  file: string,
  value: string,
  code: string | undefined,
): Promise<string | undefined> {
  switch (code) {
    case 'EBUSY':
      return (
        `it has controllers enabled for its children (${(await peek(path, 'cgroup.subtree_control')) ?? ''}), ` +
        'so that it can have no processes itself'
      )
    case 'EOPNOTSUPP':
      return (await invalidHint(path)) ?? otherDomain(path, value)
    case 'EACCES':
    case 'EPERM':
      return containment(path, file, value)
    case 'EINVAL':
      return 'a kernel thread can not be moved'
    default:
      return undefined
  }
}

/** Who may move a process may write at both ends, and above both. */
async function containment(path: string, file: string, id: string): Promise<string> {
  const above = await aboveBoth(path, id)
  const needed = [`${path}/${file}`, ...(above === undefined ? [] : [`${above}/cgroup.procs`])]
  const may = await Promise.all(needed.map(mayWrite))
  const lacking = needed.filter((_, i) => may[i] === false)
  return (
    'to move a process takes write permission on this file, and on cgroup.procs of the nearest cgroup above both this one ' +
    `and the process: this user has none on ${lacking.join(', ')}`
  )
}

/** The nearest cgroup that holds both this one and a process. */
async function aboveBoth(path: string, id: string): Promise<string | undefined> {
  const chain: string[] = []
  for (let at = path; (await peek(at, 'cgroup.controllers')) !== undefined; at = dirname(at)) chain.push(at)
  const theirs = /^0::(.*)$/m.exec((await peek(`/proc/${id}`, 'cgroup')) ?? '')?.[1]
  if (theirs === undefined) return undefined
  const there = join(chain.at(-1) ?? '', theirs, '/')
  return chain.find((at) => there.startsWith(`${at}/`))
}

/** Of a cgroup that can have no processes, as others are threaded. */
async function invalidHint(path: string): Promise<string | undefined> {
  if ((await typeOf(path)) !== 'domain invalid') return undefined
  const above = dirname(path)
  return (
    `its type is 'domain invalid': it is beside or below a threaded one, and not threaded itself ` +
    `(${above} is '${(await typeOf(above)) ?? 'the root'}')`
  )
}

/** A thread goes only where others of its process may be. */
async function otherDomain(path: string, thread: string): Promise<string> {
  const [here, there] = await Promise.all([domainOf(path), peek(`/proc/${thread}`, 'cgroup')])
  const theirs = /^0::(.*)$/m.exec(there ?? '')?.[1] ?? '?'
  return `thread ${thread}, of ${theirs}, belongs to another domain than this cgroup, whose domain is ${here}: move its process there first`
}

async function controlHint(
  path: string,
  value: string,
  code: string | undefined,
): Promise<string | undefined> {
  switch (code) {
    case 'EBUSY': {
      const own = await members(path)
      if (value.includes('+') && own !== undefined) return `this cgroup has processes of its own: ${own}`
      const users = await usersBelow(path, value)
      return `${users.length === 0 ? 'a cgroup below it' : users.join(', ')} has the controller enabled for its own children`
    }
    case 'EOPNOTSUPP':
      return 'not in a threaded cgroup (cgroup.type)'
    case 'EACCES':
      return delegate
    default:
      return undefined
  }
}

async function usersBelow(path: string, value: string): Promise<string[]> {
  const names = value.split(' ').map((change) => change.slice(1))
  const users: string[] = []
  for (const child of await children(path)) {
    const enabled = (await peek(child, 'cgroup.subtree_control'))?.split(' ') ?? []
    if (names.some((name) => enabled.includes(name))) users.push(child)
  }
  return users
}

function isOlder(kernel: string): boolean {
  const [major = 0, minor = 0] = kernel.split('.').map(Number)
  const [ours = 0, oursMinor = 0] = release()
    .split('.')
    .map((part) => parseInt(part))
  return ours < major || (ours === major && oursMinor < minor)
}

async function missing(path: string, file: string): Promise<string> {
  const siblings = await fs.readdir(path).catch(() => [] as string[])
  if (siblings.length === 0) return removed
  if (/^cgroup\.(procs|threads)$/.test(file) && siblings.includes(file)) return OUTSIDE
  if (!siblings.includes('cgroup.type')) return 'the root of the hierarchy has no such file'
  const since = formatOf(file)?.since
  if (since !== undefined && isOlder(since)) return `it needs Linux ${since}, this is ${release()}`
  const controller = controllerOf(file)
  const same = siblings.filter((name) => name.startsWith(`${controller ?? 'cgroup'}.`))
  if (controller !== undefined && !same.some((name) => controllerOf(name) === controller)) {
    return `${controller} is not enabled for this cgroup: see enable() of the one above`
  }
  return `there are ${same.join(', ')}`
}
