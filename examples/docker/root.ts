// The root filesystem, as mount(2) calls in the mount namespace of the new process: nothing of it is seen outside, and it
// is gone when the process is.
import { accessSync, constants, existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import { type Mount, parseMountinfo } from 'fancyproc'
import {
  bind,
  chdir,
  makePrivate,
  mkdir,
  mknod,
  mount,
  type MountFlag,
  overlayData,
  pivotRoot,
  remount,
  type Steps,
  symlink,
  umask,
  umount2,
} from 'fancyproc/steps'
import { type Container, quietly } from './state.ts'

const ordinaryUser = process.geteuid?.() !== 0

/** A tmpfs is mounted here, over what the host has: for what is written, and for the new root. */
const STAGE = '/tmp'
const ROOT = `${STAGE}/root`

const nosuid: MountFlag[] = ['MS_NOSUID', 'MS_NODEV', 'MS_NOEXEC']

export const NO_IMAGE = [
  "no image: its root is the machine's own directories, read-only below an overlay;",
  'the name of an image is only a name here',
]

export function enterRoot(container: Container): Steps {
  return [
    // A copy of the host's mounts still shares events with them.
    makePrivate('/', { recursive: true }),
    umask(0),
    // Before the stage hides it, if it is below /tmp: the layers are made of the working directory, '.'.
    chdir(container.rootfs ?? '/'),
    filesystem('tmpfs', STAGE, ['MS_NOSUID', 'MS_NODEV'], 'mode=755', container),
    ['root', 'upper', 'work'].map((name) => mkdir(`${STAGE}/${name}`, 0o755)),
    layers(container),
    chdir(ROOT),
    filesystem('proc', 'proc', nosuid),
    protectProc(),
    filesystem('sysfs', 'sys', [...nosuid, 'MS_RDONLY']),
    container.cgroup === undefined ? [] : filesystem('cgroup2', 'sys/fs/cgroup', [...nosuid, 'MS_RDONLY']),
    devices(container),
    ['tmp', 'run'].map((name) =>
      filesystem('tmpfs', name, ['MS_NOSUID', 'MS_NODEV'], 'mode=1777', container),
    ),
    // The old root comes to lie over the new one, and is taken off.
    pivotRoot('.', '.'),
    umount2('.', 'MNT_DETACH'),
    chdir('/'),
    umask(0o022),
  ]
}

/** With SELinux its files are its own, at its level: what lies there without a label, or with the host's, it could not use. */
function filesystem(
  type: string,
  target: string,
  flags: MountFlag[],
  data = '',
  { fileLabel }: Partial<Container> = {},
): Steps {
  return mount({
    source: type,
    target,
    type,
    flags,
    data,
    ...(fileLabel !== undefined && { context: fileLabel }),
  })
}

function layers(container: Container): Steps {
  const lower = container.rootfs ?? '/'
  if (ordinaryUser && container.rootfs === undefined) return ownDirectories(container)
  if (!mayOverlay(lower)) return bindReadOnly(lower, ROOT)
  // Made in the upper layer, these hide whatever the lower one may have there, such as a symlink to elsewhere.
  const upper = `${STAGE}/upper/image`
  const hidden = mountPoints.map((name) => mkdir(`${upper}/${name}`))
  return [mkdir(upper, modeOf(lower)), hidden, overlay('image', ROOT, container)]
}

const mountPoints = ['proc', 'sys', 'dev', 'tmp', 'run']

/** What lies elsewhere, or is nobody else's business. */
const leftOut = [...mountPoints, 'boot', 'lost+found', 'media', 'mnt']

/** A user namespace takes no overlay of '/', below which the host has its mounts: a layer for each directory in it. */
function ownDirectories(container: Container): Steps {
  const entries = readdirSync('/', { withFileTypes: true }).filter(({ name }) => !leftOut.includes(name))
  return [
    filesystem('tmpfs', ROOT, ['MS_NOSUID', 'MS_NODEV'], 'mode=755', container),
    mountPoints.map((name) => mkdir(`${ROOT}/${name}`)),
    entries.map((entry): Steps => {
      const [path, target] = [`/${entry.name}`, `${ROOT}/${entry.name}`]
      if (entry.isSymbolicLink()) return symlink(readlinkSync(path), target)
      if (!entry.isDirectory()) return []
      if (!mayRead(path)) return mkdir(target, 0o700)
      if (!mayOverlay(path)) return [mkdir(target), chdir(path), bindReadOnly(path, target)]
      const upper = mkdir(`${STAGE}/upper/${entry.name}`, modeOf(path))
      return [mkdir(target), upper, chdir(path), overlay(entry.name, target, container)]
    }),
  ]
}

function overlay(name: string, target: string, container: Container): Steps {
  const [upperdir, workdir] = [`${STAGE}/upper/${name}`, `${STAGE}/work/${name}`]
  const data = overlayData({ lowerdir: '.', upperdir, workdir, options: ordinaryUser ? ['userxattr'] : [] })
  return [mkdir(workdir), filesystem('overlay', target, ['MS_NODEV'], data, container)]
}

/** An overlay's own directory has the mode of its upper layer. */
function modeOf(path: string): number {
  return statSync(path).mode & 0o7777
}

function mayRead(path: string): boolean {
  return quietly(() => (accessSync(path, constants.R_OK | constants.X_OK), true)) ?? false
}

let found: Mount[] | undefined

function hostMounts(): Mount[] {
  return (found ??= parseMountinfo(readFileSync('/proc/self/mountinfo', 'utf8')))
}

function mountsBelow(path: string): Mount[] {
  return hostMounts().filter(({ mountPoint: point }) => point.startsWith(join(path, '/')) && point !== path)
}

/** In a user namespace, mounts of the host are locked to what they lie on: a layer can't be without them. */
function mayOverlay(path: string): boolean {
  if (!ordinaryUser) return true
  const [major = 0, minor = 0] = release().split('.').map(Number)
  return mountsBelow(path).length === 0 && (major > 5 || (major === 5 && minor >= 11))
}

/** The working directory, with all that is mounted below it. A remount reaches one mount, and must name what is locked. */
function bindReadOnly(path: string, target: string): Steps {
  const around = hostMounts().filter(
    ({ mountPoint: point }) => path === point || path.startsWith(join(point, '/')),
  )
  const nearest = around.reduce((one, other) =>
    other.mountPoint.length >= one.mountPoint.length ? other : one,
  )
  const below = mountsBelow(path).filter(({ mountPoint: point }) => existsSync(point))
  return [
    bind('.', target, { recursive: true }),
    readOnly(target, nearest.options),
    below.map(({ mountPoint: point, options }) => readOnly(join(target, point.slice(path.length)), options)),
  ]
}

function readOnly(target: string, options: readonly string[]): Steps {
  const locked = nosuid.filter((flag) => options.includes(flag.slice(3).toLowerCase()))
  return remount(target, ['MS_BIND', 'MS_RDONLY', ...locked])
}

/** Settings of the whole machine, which root could change there. */
function protectProc(): Steps {
  const paths = ['bus', 'fs', 'irq', 'sys', 'sysrq-trigger'].filter((name) => existsSync(`/proc/${name}`))
  const hidden = ['kcore', 'keys', 'timer_list'].filter((name) => existsSync(`/proc/${name}`))
  return [
    paths.map((name) => [
      bind(`proc/${name}`, `proc/${name}`),
      readOnly(`proc/${name}`, ['nosuid', 'nodev', 'noexec']),
    ]),
    hidden.map((name) => bind('/dev/null', `proc/${name}`)),
  ]
}

const nodes = {
  null: [1, 3],
  zero: [1, 5],
  full: [1, 7],
  random: [1, 8],
  urandom: [1, 9],
  tty: [5, 0],
} as const

/** In a user namespace devices can't be made, but the host's can be bound. */
function device(name: keyof typeof nodes): Steps {
  const [major, minor] = nodes[name]
  if (!ordinaryUser) return mknod(`dev/${name}`, 0o666, 'S_IFCHR', { major, minor })
  return [mknod(`dev/${name}`, 0o666, 'S_IFREG'), bind(`/dev/${name}`, `dev/${name}`)]
}

function devices(container: Container): Steps {
  return [
    filesystem('tmpfs', 'dev', ['MS_NOSUID', 'MS_NOEXEC'], 'mode=755', container),
    Object.keys(nodes).map((name) => device(name as keyof typeof nodes)),
    mkdir('dev/pts', 0o755),
    // Its own terminals: /dev/pts/0 here is no other's.
    filesystem(
      'devpts',
      'dev/pts',
      ['MS_NOSUID', 'MS_NOEXEC'],
      'newinstance,ptmxmode=0666,mode=620',
      container,
    ),
    symlink('pts/ptmx', 'dev/ptmx'),
    symlink('/proc/self/fd', 'dev/fd'),
    ['stdin', 'stdout', 'stderr'].map((name, fd) => symlink(`/proc/self/fd/${fd}`, `dev/${name}`)),
    mkdir('dev/shm', 0o1777),
    filesystem('tmpfs', 'dev/shm', nosuid, 'mode=1777', container),
  ]
}
