// The whole of "a container": one spawn() of an ordinary process, and what the kernel is told to isolate it by.
import { type Cgroup, cgroups, KernelError, type Namespace, type Process, spawn, type Stdio } from 'fancyproc'
import {
  type Capability,
  keepBounding,
  mapUser,
  openpty,
  setexeccon,
  sethostname,
  setNoNewPrivs,
  setPdeathsig,
  unshare,
} from 'fancyproc/steps'
import { limitDevices } from './devices.ts'
import { allocateLabels, labelOptions, mayChangeWithoutPrivileges } from './label.ts'
import { enterRoot } from './root.ts'
import type { Container } from './state.ts'
import { say } from './table.ts'

export const ordinaryUser = process.geteuid?.() !== 0

/** An ordinary user gets his privileges from a user namespace, in which he is root. */
export const namespaces: Namespace[] = [
  ...(ordinaryUser ? ['user' as const] : []),
  'mnt',
  'pid',
  'net',
  'ipc',
  'uts',
]

export interface Start {
  stdio: Stdio
  /** The window's size. */
  pty?: { columns: number; rows: number }
  /** It ends with us, unless it has a label of its own. */
  attached: boolean
}

export async function start(
  container: Container,
  { stdio, pty, attached }: Start,
): Promise<{ child: Process; cgroup: Cgroup | undefined }> {
  const { command, hostname, env, tty, securityOptions } = container
  const labels = await allocateLabels(labelOptions(securityOptions), securityOptions.length > 0)
  container.label = labels?.process
  container.fileLabel = labels?.files
  let cgroup: Cgroup | undefined
  try {
    const freezePrivileges = labels === undefined || mayChangeWithoutPrivileges(labels)
    cgroup = await ownCgroup(container)
    if (attached) say(container.notes)
    const [file = '', ...args] = command
    const child = spawn(file, args, {
      namespaces,
      ...(cgroup && { cgroup }),
      stdio,
      env: { PATH, HOSTNAME: hostname, HOME: '/root', ...(tty && { TERM: 'xterm' }), ...env },
      steps: [
        ordinaryUser ? mapUser() : [],
        // Not at clone: a cgroup namespace begins where its first process is, and that would be our own cgroup.
        unshare('cgroup'),
        sethostname(hostname),
        enterRoot(container),
        tty ? openpty('/dev/pts/ptmx', pty) : [],
        // What is not in the bounding set is not gained at execve, not even by root.
        keepBounding(keptCapabilities),
        freezePrivileges ? setNoNewPrivs() : [],
        // The kernel forgets the parent-death signal when it changes the label.
        labels !== undefined ? setexeccon(labels.process) : attached ? setPdeathsig('SIGKILL') : [],
      ],
    })
    if (labels) child.once('close', labels.release)
    return { child, cgroup }
  } catch (error) {
    labels?.release()
    await cgroup?.remove({ kill: true })
    throw error
  }
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

// Docker's, except CAP_MKNOD, as where eBPF is refused there is no filter of devices beside it (devices.ts).
const keptCapabilities: Capability[] = [
  'CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_FOWNER', 'CAP_FSETID', 'CAP_KILL', 'CAP_SETGID', 'CAP_SETUID', 'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE', 'CAP_NET_RAW', 'CAP_SYS_CHROOT', 'CAP_AUDIT_WRITE', 'CAP_SETFCAP',
] // prettier-ignore

/** Undefined where none may be made, with a note why. */
async function ownCgroup(container: Container): Promise<Cgroup | undefined> {
  const { limits, notes } = container
  // A limit that was asked for is no wish: without it nothing runs.
  if (Object.keys(limits).length > 0) return newCgroup(container, limits)
  try {
    const hasPids = (await cgroups.available()).includes('pids')
    return await newCgroup(container, hasPids ? { 'pids.max': 2048 } : {})
  } catch (error) {
    if (!(error instanceof KernelError)) throw error
    notes.push(`no cgroup of its own: ${error.message}`)
    return undefined
  }
}

/** Detached: it outlives the engine, and its shim removes it. */
async function newCgroup(container: Container, limits: Record<string, number>): Promise<Cgroup> {
  const cgroup = await cgroups.create(`fancyproc-${container.id.slice(0, 12)}`, limits, { detached: true })
  container.cgroup = cgroup.path
  await limitDevices(cgroup, container.notes)
  return cgroup
}
