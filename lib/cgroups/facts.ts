// What the explanation of an error looks at. Nothing here throws: what can't be read is undefined, or none.
import { promises as fs, readlinkSync } from 'node:fs'
import { dirname } from 'node:path'

/** Where a path through a descriptor of ours leads: for messages, and for what lies above it. */
export function realPath(path: string): string {
  const [, link, rest] = /^(\/proc\/self\/fd\/\d+)(.*)$/s.exec(path) ?? []
  if (link === undefined || rest === undefined) return path
  try {
    return readlinkSync(link).replace(/ \(deleted\)$/, '') + rest
  } catch {
    return path
  }
}

/** The text of an interface file, trimmed. */
export async function peek(path: string, file: string): Promise<string | undefined> {
  return fs.readFile(`${path}/${file}`, 'utf8').then(
    (text) => text.trim(),
    () => undefined,
  )
}

/** Whether the cgroup is no more; its directory may still be open. */
export async function isRemoved(path: string): Promise<boolean> {
  return fs.stat(`${path}/cgroup.controllers`).then(
    () => false,
    (error: unknown) => (error as NodeJS.ErrnoException).code === 'ENOENT',
  )
}

/** `cgroup.type`; the root has none. */
export async function typeOf(path: string): Promise<string | undefined> {
  return peek(path, 'cgroup.type')
}

/** The cgroup that a threaded one belongs to: the nearest above that is not threaded. Of another: itself. */
export async function domainOf(path: string): Promise<string> {
  return (await typeOf(path)) === 'threaded' ? domainOf(dirname(path)) : path
}

export async function children(path: string): Promise<string[]> {
  const entries = await fs.readdir(path, { withFileTypes: true }).catch(() => [])
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => `${path}/${name}`)
}

/** Whether a live process is in it, or below it. */
export async function isPopulated(path: string): Promise<boolean> {
  return /^populated 1$/m.test((await peek(path, 'cgroup.events')) ?? '')
}

/** Those in this very cgroup, for a message: 'pid 12, 13 and 4 more'; undefined if there are none. */
export async function members(path: string): Promise<string | undefined> {
  const pids = (await peek(path, 'cgroup.procs'))?.split('\n').filter((pid) => pid !== '') ?? []
  if (pids.length === 0) return undefined
  // Of another pid namespace.
  const seen = pids.filter((pid) => pid !== '0')
  const shown = seen.slice(0, 5)
  if (shown.length === 0) return `${String(pids.length)} of other pid namespaces`
  const rest = pids.length - shown.length
  return `pid ${shown.join(', ')}${rest === 0 ? '' : ` and ${String(rest)} more`}`
}

/** Directories in it, or below it, that have processes, with them. */
export async function populated(path: string): Promise<string[]> {
  if (!(await isPopulated(path))) return []
  const own = await members(path)
  const below = await Promise.all((await children(path)).map(populated))
  return [...(own === undefined ? [] : [`${path} (${own})`]), ...below.flat()]
}

/** Whether this user may. */
export async function mayWrite(path: string): Promise<boolean> {
  return fs.access(path, fs.constants.W_OK).then(
    () => true,
    () => false,
  )
}
