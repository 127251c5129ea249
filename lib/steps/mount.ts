// mount(2), and the data of an overlay.
import { invalid, outOfRange, show } from '../errors.ts'
import { type Flags, FlagTable } from '../flags.ts'
import { Step } from '../step.ts'
import { boolean, type Errnos, optionalText, options as checkOptions, path, text } from './arguments.ts'
import { contextHints, contextOptions, contexts, type MountContexts } from './context.ts'
import { call, quote } from './strace.ts'

const mountBits = {
  MS_RDONLY: 0x1,
  MS_NOSUID: 0x2,
  MS_NODEV: 0x4,
  MS_NOEXEC: 0x8,
  MS_SYNCHRONOUS: 0x10,
  MS_REMOUNT: 0x20,
  MS_MANDLOCK: 0x40,
  MS_DIRSYNC: 0x80,
  MS_NOSYMFOLLOW: 0x100,
  MS_NOATIME: 0x400,
  MS_NODIRATIME: 0x800,
  MS_BIND: 0x1000,
  MS_MOVE: 0x2000,
  MS_REC: 0x4000,
  MS_SILENT: 0x8000,
  MS_POSIXACL: 0x1_0000,
  MS_UNBINDABLE: 0x2_0000,
  MS_PRIVATE: 0x4_0000,
  MS_SLAVE: 0x8_0000,
  MS_SHARED: 0x10_0000,
  MS_RELATIME: 0x20_0000,
  MS_I_VERSION: 0x80_0000,
  MS_STRICTATIME: 0x100_0000,
  MS_LAZYTIME: 0x200_0000,
} as const

/** Flags of mount(2), as <sys/mount.h> has them. */
export type MountFlag = keyof typeof mountBits

const mountFlags = new FlagTable<MountFlag>(mountBits, 'MS_???')

// What mount(2) reads with MS_BIND and without MS_REMOUNT; all else it would drop without a word.
const BIND_TAKES = mountBits.MS_BIND | mountBits.MS_REC | mountBits.MS_SILENT
const PROPAGATION = mountBits.MS_UNBINDABLE | mountBits.MS_PRIVATE | mountBits.MS_SLAVE | mountBits.MS_SHARED

/** mount(2) copies a page, and cuts what is longer. */
const DATA_MOST = 4095

export interface MountOptions extends MountContexts {
  /** What is mounted: a device, a directory, or a name that only mountinfo shows. */
  source?: string
  target: string
  /** The filesystem's name in /proc/filesystems. */
  type?: string
  flags?: Flags<MountFlag>
  /** The filesystem's own options. */
  data?: string
  ignore?: Errnos
}

function mountHints(type: string | null, flags: number): Record<string, string> {
  const hints: Record<string, string> = {
    EPERM:
      "this needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace, and a mount namespace of one's own",
    EINVAL:
      "an option that this filesystem does not know, or an invalid source; the kernel's log may say more",
    ENODEV: 'this kernel has no such filesystem',
    ENOENT: 'target or source does not exist, or something that the options name',
  }
  if (flags & mountBits.MS_REMOUNT) {
    hints.EPERM =
      'in a user namespace, flags that a mount brought along (ro, nosuid, nodev, noexec, atime) are locked: name them all again'
    hints.EINVAL = 'the target is no mount point: bind it onto itself first'
  } else if (flags & mountBits.MS_BIND) {
    hints.EINVAL =
      'the source is unbindable, is in another mount namespace, or has submounts that are locked in a user namespace: bind recursively'
  } else if (flags & PROPAGATION) {
    hints.EINVAL =
      'the target is no mount point, or other flags are given than MS_REC and one kind of propagation'
  } else if (flags & mountBits.MS_MOVE) {
    hints.EINVAL = 'the source is no mount point, is locked, or is below a shared mount'
  } else if (type === 'overlay') {
    hints.EINVAL =
      'overlay refuses: a lower layer with submounts that are locked in a user namespace, upperdir and workdir not on one ' +
      "writable filesystem, a layer in another's use, or in a user namespace without the option 'userxattr', which is Linux 5.11's; the kernel's log says which"
    hints.EPERM = `${hints.EPERM ?? ''}; overlays in a user namespace need Linux 5.11`
    hints.ENOENT = 'the target, or a directory that lowerdir, upperdir or workdir names, does not exist'
  } else if (type === 'proc' || type === 'sysfs') {
    hints.EPERM =
      type === 'proc'
        ? "in a user namespace a new procfs needs a new pid namespace, and a visible /proc with nothing mounted over it ('mount too revealing')"
        : "in a user namespace a new sysfs needs a net namespace of its own, and a visible /sys with nothing mounted over it ('mount too revealing')"
  }
  return hints
}

/**
 * `int mount(const char *source, const char *target, const char *type, unsigned long flags, const void
 * *data)`: mounts a filesystem; with MS_BIND a directory or file, see `bind`; with MS_REMOUNT changes one,
 * see `remount`; with MS_PRIVATE and its like how it shares events, see `makePrivate`; with MS_MOVE moves it.
 * An attribute together with MS_BIND, which the kernel would ignore, is an error: remount afterwards. The
 * SELinux options `context`, `fscontext`, `rootcontext` and `defcontext` are added to the data, in quotes;
 * where SELinux is off they make spawn() fail before anything has happened. Since Linux 2.4.
 *
 * Acts on: the child's mount namespace; in `fancyproc/thread` the thread's. Needs CAP_SYS_ADMIN in the user
 * namespace that owns it; in one that is not the first, only filesystems marked for that (proc, sysfs, tmpfs,
 * devpts, mqueue, overlay 5.11).
 *
 * | errno  | when |
 * |--------|------|
 * | EACCES | policy forbids such a context, or this filesystem has none in a user namespace |
 * | EBUSY  | remounted read-only with files open for writing |
 * | EINVAL | bad options; no mount point; bind of locked submounts |
 * | ENODEV | no such filesystem in this kernel |
 * | ENOENT | a path does not exist |
 * | EPERM  | no CAP_SYS_ADMIN; locked flags; 'mount too revealing' |
 *
 * See `man 2 mount`.
 */
export function mount(options: MountOptions): Step {
  const known = ['source', 'target', 'type', 'flags', 'data', 'ignore', ...contexts] as const
  const given = checkOptions<MountOptions>(options, 'mount', known)
  const source = optionalText(given.source, 'mount: source', { most: DATA_MOST })
  const target = path(given.target, 'mount: target')
  const type = optionalText(given.type, 'mount: type', { most: DATA_MOST })
  const flags = mountFlags.value(given.flags ?? 0, 'mount: flags')
  const onlyMoves = (flags & (mountBits.MS_BIND | mountBits.MS_MOVE | PROPAGATION)) !== 0
  const labels = contextOptions(given, (flags & mountBits.MS_REMOUNT) !== 0 || !onlyMoves)
  const own = optionalText(given.data, 'mount: data', { empty: true, most: DATA_MOST })
  const data =
    labels.length === 0
      ? own
      : text([...(own ? [own] : []), ...labels].join(','), 'mount: data', { most: DATA_MOST })
  if (flags & mountBits.MS_BIND && !(flags & mountBits.MS_REMOUNT)) {
    if (source === null) throw invalid('mount: source', 'MS_BIND needs one')
    const { text, rest } = mountFlags.split(BigInt(flags) & ~BigInt(BIND_TAKES))
    const ignored = text === '' && rest !== 0n ? `0x${rest.toString(16)}` : text
    if (ignored !== '') {
      throw invalid(
        'mount: flags',
        `with MS_BIND the kernel ignores ${ignored}: bind first, then remount with MS_BIND and those`,
      )
    }
  }
  return new Step('mount', [source, target, type, flags, data], {
    calls: () => [
      call('mount', quote(source), quote(target), quote(type), mountFlags.print(flags), quote(data)),
    ],
    path: source ?? target,
    dest: source === null ? undefined : target,
    ignore: given.ignore,
    module: labels.length > 0 ? 'selinux' : undefined,
    hints: { ...mountHints(type, flags), ...(labels.length > 0 && contextHints) },
  })
}

export interface RecursiveOptions {
  /** The mounts below it, too: MS_REC. */
  recursive?: boolean
  ignore?: Errnos
}

function recursive(options: RecursiveOptions, name: string): { flags: MountFlag[]; ignore: Errnos } {
  const { recursive = false, ignore = [] } = checkOptions<RecursiveOptions>(options, name, [
    'recursive',
    'ignore',
  ])
  return { flags: boolean(recursive, `${name}: recursive`) ? ['MS_REC'] : [], ignore }
}

/**
 * `mount(source, target, NULL, MS_BIND, NULL)`: makes a directory or file appear at a second place, where one
 * of its kind must be. Attributes (read-only …) come by a `remount(target, ['MS_BIND', 'MS_RDONLY'])` after
 * it. Since Linux 2.4.
 *
 * Acts on: the child's mount namespace; in `fancyproc/thread` the thread's. Needs CAP_SYS_ADMIN in the user
 * namespace that owns it.
 *
 * Errnos: as for `mount`.
 *
 * See `man 2 mount`.
 */
export function bind(source: string, target: string, options: RecursiveOptions = {}): Step {
  const { flags, ignore } = recursive(options, 'bind')
  return mount({
    source: path(source, 'bind: source'),
    target: path(target, 'bind: target'),
    flags: ['MS_BIND', ...flags],
    ignore,
  })
}

/**
 * `mount(NULL, target, NULL, MS_REMOUNT | flags, data)`: changes the options of a mount, all of which are to
 * be named; with 'MS_BIND' those of this mount point (read-only since 2.6.26), without it those of the
 * filesystem everywhere. It does not reach submounts. Since Linux 2.4.
 *
 * Acts on: the child's mount namespace; in `fancyproc/thread` the thread's. Needs CAP_SYS_ADMIN in the user
 * namespace that owns it.
 *
 * Errnos: as for `mount`.
 *
 * See `man 2 mount`.
 */
export function remount(target: string, flags: Flags<MountFlag>, data?: string): Step {
  const bits = mountFlags.value(flags, 'remount: flags')
  const all = [bits, 'MS_REMOUNT'] as const
  return mount({
    target: path(target, 'remount: target'),
    flags: all,
    ...(data === undefined ? {} : { data }),
  })
}

function propagation(name: string, flag: MountFlag, target: unknown, options: RecursiveOptions): Step {
  const { flags, ignore } = recursive(options, name)
  return mount({ target: path(target, `${name}: target`), flags: [flag, ...flags], ignore })
}

/**
 * `mount(NULL, target, NULL, MS_PRIVATE, NULL)`: no mount event goes in or out. Needed before `pivotRoot`.
 * Since Linux 2.6.15.
 *
 * Acts on: the child's mount namespace; in `fancyproc/thread` the thread's. Needs CAP_SYS_ADMIN in the user
 * namespace that owns it.
 *
 * Errnos: as for `mount`.
 *
 * See `man 2 mount`, `man 7 mount_namespaces`.
 */
export function makePrivate(target: string, options: RecursiveOptions = {}): Step {
  return propagation('makePrivate', 'MS_PRIVATE', target, options)
}

/**
 * `mount(NULL, target, NULL, MS_SLAVE, NULL)`: mount events of the original come in, none goes out. Since
 * Linux 2.6.15.
 *
 * Acts on: the child's mount namespace; in `fancyproc/thread` the thread's. Needs CAP_SYS_ADMIN in the user
 * namespace that owns it.
 *
 * Errnos: as for `mount`.
 *
 * See `man 2 mount`, `man 7 mount_namespaces`.
 */
export function makeSlave(target: string, options: RecursiveOptions = {}): Step {
  return propagation('makeSlave', 'MS_SLAVE', target, options)
}

/**
 * `mount(NULL, target, NULL, MS_SHARED, NULL)`: mount events go in and out. Since Linux 2.6.15.
 *
 * Acts on: the child's mount namespace; in `fancyproc/thread` the thread's. Needs CAP_SYS_ADMIN in the user
 * namespace that owns it.
 *
 * Errnos: as for `mount`.
 *
 * See `man 2 mount`, `man 7 mount_namespaces`.
 */
export function makeShared(target: string, options: RecursiveOptions = {}): Step {
  return propagation('makeShared', 'MS_SHARED', target, options)
}

/**
 * `mount(NULL, target, NULL, MS_UNBINDABLE, NULL)`: private, and cannot be bound elsewhere. Since Linux
 * 2.6.15.
 *
 * Acts on: the child's mount namespace; in `fancyproc/thread` the thread's. Needs CAP_SYS_ADMIN in the user
 * namespace that owns it.
 *
 * Errnos: as for `mount`.
 *
 * See `man 2 mount`, `man 7 mount_namespaces`.
 */
export function makeUnbindable(target: string, options: RecursiveOptions = {}): Step {
  return propagation('makeUnbindable', 'MS_UNBINDABLE', target, options)
}

export interface OverlayLayers {
  /** Read-only layers, the topmost first. */
  lowerdir: string | readonly string[]
  /** What is written goes here; without it the overlay is read-only. */
  upperdir?: string
  /** An empty directory on the filesystem of `upperdir`. */
  workdir?: string
  /** More of overlay's options, e.g. 'userxattr', which a user namespace needs. */
  options?: readonly string[]
}

/**
 * The `data` of an overlay mount. Characters that mean something there (`:`, `,`, `\`) are escaped in the
 * paths.
 *
 * See `man 5 filesystems` and the kernel's Documentation/filesystems/overlayfs.rst.
 */
export function overlayData(layers: OverlayLayers): string {
  const given = checkOptions<OverlayLayers>(layers, 'overlayData', [
    'lowerdir',
    'upperdir',
    'workdir',
    'options',
  ])
  const escape = (value: unknown, name: string): string =>
    path(value, `overlayData: ${name}`).replace(/[\\:,]/g, (character) => `\\${character}`)
  const lower: readonly unknown[] = Array.isArray(given.lowerdir) ? given.lowerdir : [given.lowerdir]
  if (lower.length < 1 || lower.length > 500) {
    throw outOfRange('overlayData: lowerdir', `expected 1 to 500 layers, got ${String(lower.length)}`)
  }
  if ((given.upperdir === undefined) !== (given.workdir === undefined)) {
    throw invalid(
      `overlayData: ${given.upperdir === undefined ? 'upperdir' : 'workdir'}`,
      'upperdir and workdir go together',
    )
  }
  const lowerdir = lower.map((layer, i) =>
    escape(layer, Array.isArray(given.lowerdir) ? `lowerdir[${String(i)}]` : 'lowerdir'),
  )
  const parts = [`lowerdir=${lowerdir.join(':')}`]
  if (given.upperdir !== undefined) parts.push(`upperdir=${escape(given.upperdir, 'upperdir')}`)
  if (given.workdir !== undefined) parts.push(`workdir=${escape(given.workdir, 'workdir')}`)
  if (given.options !== undefined && !Array.isArray(given.options)) {
    throw invalid('overlayData: options', `expected an array of strings, got ${show(given.options)}`)
  }
  for (const [i, option] of (given.options ?? []).entries())
    parts.push(path(option, `overlayData: options[${String(i)}]`))
  const data = parts.join(',')
  const length = Buffer.byteLength(data)
  if (length > DATA_MOST) {
    throw outOfRange(
      'overlayData',
      `${String(length)} bytes, the kernel takes ${String(DATA_MOST)}: use shorter paths, relative to a chdir`,
    )
  }
  return data
}
