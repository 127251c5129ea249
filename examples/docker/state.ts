// The engine's memory: a small JSON file for each process that it started. Losing them loses nothing that runs.
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { Refusal } from './refusal.ts'

/** There is no such object in the kernel: this record is all there is to it. */
export interface Container {
  id: string
  name: string
  /** Only a name here: see root.ts. */
  image: string
  command: string[]
  created: string
  tty: boolean
  interactive: boolean
  /** Forget it when it has ended. */
  rm: boolean
  rootfs: string | undefined
  hostname: string
  env: Record<string, string>
  /** What goes into files of its cgroup. */
  limits: Record<string, number>
  securityOptions: string[]
  /** Its SELinux context, once it runs, and that of its files. */
  label: string | undefined
  fileLabel?: string | undefined
  /** Things to tell whoever starts it. */
  notes: string[]
  namespaces: string[]
  cgroup?: string
  owner?: number
  pid?: number | undefined
  /** A pid is given to others in time; pid and start time together are not. */
  startTime?: string | undefined
  exitCode?: number
  finished?: string
}

function top(): string {
  const { FANCYPROC_DOCKER_STATE: given, XDG_RUNTIME_DIR: runtime } = process.env
  const uid = process.geteuid?.() ?? 0
  if (given) return resolve(given)
  if (uid === 0) return '/run/fancyproc-docker'
  return runtime ? join(runtime, 'fancyproc-docker') : `/tmp/fancyproc-docker-${uid}`
}

/** Short, as a socket in it has a path of at most 107 bytes. */
export function directory({ id }: { id: string }): string {
  return join(top(), id.slice(0, 12))
}

export function create(container: Container): void {
  mkdirSync(top(), { recursive: true, mode: 0o700 })
  // In /tmp somebody else may have been there before us.
  const owner = lstatSync(top())
  if (!owner.isDirectory() || owner.uid !== process.geteuid?.()) {
    throw new Refusal(`${top()} belongs to somebody else`, 125)
  }
  mkdirSync(directory(container))
  save(container)
}

export function save(container: Container): void {
  const file = join(directory(container), 'state.json')
  writeFileSync(`${file}.new`, `${JSON.stringify(container, undefined, 2)}\n`)
  renameSync(`${file}.new`, file)
}

export function load(id: string): Container {
  return JSON.parse(readFileSync(join(directory({ id }), 'state.json'), 'utf8')) as Container
}

export function forget(container: Container): void {
  rmSync(directory(container), { recursive: true, force: true })
  quietly(() => rmdirSync(top())) // unless there are others
}

export function list(): Container[] {
  const ids = quietly(() => readdirSync(top())) ?? []
  const containers = ids.flatMap((id) => quietly(() => load(id)) ?? [])
  return containers.sort((a, b) => a.created.localeCompare(b.created))
}

/** By name, or by the beginning of the id. */
export function find(wanted: string): Container {
  const all = list()
  const found = all.filter(({ name }) => name === wanted)
  if (found.length === 0) found.push(...all.filter(({ id }) => id.startsWith(wanted)))
  const [container] = found
  if (container === undefined || wanted === '') throw new Refusal(`No such container: ${wanted}`)
  if (found.length > 1) throw new Refusal(`several ids begin with ${wanted}`)
  return container
}

/** Field 22 of /proc/PID/stat; the second one, a name in parentheses, may hold anything. */
export function startTimeOf(pid = 0): string | undefined {
  const stat = quietly(() => readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? ''
  const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return state === 'Z' ? undefined : fields[18]
}

export function isRunning({ pid, startTime }: Container): boolean {
  return pid !== undefined && startTime !== undefined && startTimeOf(pid) === startTime
}

export function quietly<T>(action: () => T): T | undefined {
  try {
    return action()
  } catch {
    return undefined
  }
}
