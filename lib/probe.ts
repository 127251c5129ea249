// What this machine lets this process do, found out by doing it.
import { readFileSync } from 'node:fs'
import { release } from 'node:os'
import { cgroups } from './cgroups.ts'
import { KernelError } from './errors.ts'
import { native } from './native.ts'
import type { SpawnOptions } from './options.ts'
import { selinux } from './selinux.ts'
import { spawn } from './spawn.ts'
import { mapUser } from './steps/identity.ts'
import { type Namespace, namespaces } from './steps/namespace.ts'

/** `available` is undefined when nothing can be said: `why` tells what came between. */
export interface Answer {
  available: boolean | undefined
  /** What is in the way, or what the answer rests on. */
  why?: string
  /** The kernel that has it first. */
  since?: string
}

export interface Probe {
  kernel: string
  /** Each kind of namespace, for this process as it is. */
  namespaces: Record<Namespace, Answer>
  /** Each kind, for this process with a user namespace of its own beside it. */
  withUser: Record<Namespace, Answer>
  /** A cgroup to be born in. */
  cgroup: Answer
  /** Controllers of the cgroup v2 hierarchy. */
  controllers: Record<string, Answer>
  selinux: Answer
  /** Operations that the kernel may be too old for, by name. */
  operations: Record<string, Answer>
}

const since: Record<Namespace, string> = {
  mnt: '2.4.19',
  uts: '2.6.19',
  ipc: '2.6.19',
  pid: '2.6.24',
  net: '2.6.29',
  user: '3.8',
  cgroup: '4.6',
  time: '5.6',
}

/** A directory is no program: when execve says so, all that comes before it was done. */
async function attempt(options: SpawnOptions): Promise<Answer> {
  try {
    await spawn('/', [], { ...options, stdio: 'ignore' }).exited
    return { available: undefined, why: 'a directory could be executed' }
  } catch (error) {
    if (!(error instanceof KernelError)) throw error
    if (error.syscall === 'execve') return { available: true }
    const why = [`${error.code} of ${error.syscall}`, error.hint].filter(Boolean).join(': ')
    // Out of something is no answer for the next time.
    const passing = ['EAGAIN', 'ENOMEM', 'EMFILE', 'ENFILE'].includes(error.code)
    return { available: passing ? undefined : false, why }
  }
}

async function eachKind(options: (kind: Namespace) => SpawnOptions): Promise<Record<Namespace, Answer>> {
  const answers = await Promise.all(
    namespaces.map(
      async (kind) => [kind, { ...(await attempt(options(kind))), since: since[kind] }] as const,
    ),
  )
  return Object.fromEntries(answers) as Record<Namespace, Answer>
}

async function probeCgroup(): Promise<Answer> {
  try {
    await using cgroup = await cgroups.create('probe')
    return await attempt({ cgroup })
  } catch (error) {
    if (!(error instanceof KernelError)) throw error
    return { available: false, why: error.hint ?? error.message }
  }
}

/** Without a v2 hierarchy, that is the explanation. */
async function explain(controller: string): Promise<string | undefined> {
  try {
    return await cgroups.explain(controller)
  } catch (error) {
    if (!(error instanceof KernelError)) throw error
    return error.hint ?? error.message
  }
}

async function probeControllers(): Promise<Record<string, Answer>> {
  const there = await cgroups.available().catch(() => [] as string[])
  const known = ['cpu', 'cpuset', 'memory', 'io', 'pids', 'hugetlb', 'rdma', 'misc']
  const answers: Record<string, Answer> = {}
  for (const controller of new Set([...known, ...there])) {
    const why = there.includes(controller) ? undefined : await explain(controller)
    answers[controller] =
      why === undefined ? { available: there.includes(controller) } : { available: false, why }
  }
  return answers
}

function isAtLeast(kernel: string, wanted: string): boolean {
  const [a, b] = [kernel, wanted].map((version) =>
    version.split(/[.-]/).map((part) => parseInt(part, 10) || 0),
  )
  for (const i of [0, 1, 2]) if ((a?.[i] ?? 0) !== (b?.[i] ?? 0)) return (a?.[i] ?? 0) > (b?.[i] ?? 0)
  return true
}

function probeOperations(): Record<string, Answer> {
  const answers: Record<string, Answer> = {}
  for (const { name, kernel } of native().table.values()) {
    const available = isAtLeast(release(), kernel)
    answers[name] = { available, since: kernel, ...(available ? {} : { why: `this is Linux ${release()}` }) }
  }
  return answers
}

function probeSelinux(): Answer {
  if (selinux.enabled()) return { available: true }
  const compiled = readFileSync('/proc/filesystems', 'latin1').includes('selinuxfs')
  return {
    available: false,
    why: compiled ? 'no policy is loaded' : 'not started at boot, or not compiled in',
  }
}

/**
 * `long clone3(struct clone_args *args, size_t size)` and what else there is: what this machine lets this process do. All of
 * it is tried in short-lived children, which leave nothing behind. Three answers: yes; no, and why; or nothing can be said.
 *
 * Acts on: children. Needs no privilege.
 *
 * Errnos: none, they are the answers.
 *
 * Since Linux 5.10. See `man 7 namespaces`, `man 7 cgroups`.
 */
export async function probe(): Promise<Probe> {
  const [alone, withUser, cgroup, controllers] = await Promise.all([
    eachKind((kind) => ({ namespaces: [kind] })),
    eachKind((kind) => ({ namespaces: kind === 'user' ? [kind] : ['user', kind], steps: [mapUser()] })),
    probeCgroup(),
    probeControllers(),
  ])
  return {
    kernel: release(),
    namespaces: alone,
    withUser,
    cgroup,
    controllers,
    selinux: probeSelinux(),
    operations: probeOperations(),
  }
}
