// Decodes what native/proc.cc has read of a process.
import type { CapabilitySets, Ids, ProcessField, ProcessInfo, Seccomp } from './info.ts'
import { type File, files, type Rows, shared, sharedText } from './rows.ts'
import { terminal } from './terminal.ts'

const TICK = 10_000

interface Field<T> {
  /** None is read for the pid. */
  file?: File
  decode: (row: Rows) => T
}

const stat = <T>(decode: (row: Rows) => T): Field<T> => ({ file: 'stat', decode })
const status = <T>(decode: (row: Rows) => T): Field<T> => ({ file: 'status', decode })

const list = (text = ''): number[] => (text === '' ? [] : text.split(/\s+/).map(Number))

function ids(row: Rows, at: number): Ids {
  const id = (i: number): number => row.number('status', at + i)
  return { real: id(0), effective: id(1), saved: id(2), fs: id(3) }
}

function capabilities(row: Rows): CapabilitySets {
  const set = (i: number): bigint => row.bits('status', 10 + i)
  return { inheritable: set(0), permitted: set(1), effective: set(2), bounding: set(3), ambient: set(4) }
}

function seccomp(row: Rows): Seccomp | undefined {
  const mode = (['disabled', 'strict', 'filter'] as const)[row.number('status', 16)]
  const filters = row.number('status', 17)
  return mode && { mode, filters: Number.isNaN(filters) ? undefined : filters }
}

/** More than execve(2) takes in 2 MiB, where each has a pointer beside its NUL. */
const MOST_ARGUMENTS = 1 << 18

/** NUL-terminated each, unless the process has written something else there. */
function args(text: string): string[] {
  return text === '' ? [] : (text.endsWith('\0') ? text.slice(0, -1) : text).split('\0', MOST_ARGUMENTS)
}

/** Lines like '4:cpu,cpuacct:/path'; that of v2 is '0::/path'. */
function cgroupsV1(text = ''): ProcessInfo['cgroupsV1'] {
  const lines = text.matchAll(/^[1-9]\d*:([^:]*):(.*)$/gm)
  return Object.freeze(
    Object.fromEntries(Array.from(lines, ([, controllers = '', path = '']) => [controllers, path])),
  )
}

function namespaces(row: Rows): ProcessInfo['namespaces'] {
  const inode = (i: number): number | undefined => {
    const value = row.number('ns', i)
    return Number.isNaN(value) ? undefined : value
  }
  return {
    mnt: inode(0),
    uts: inode(1),
    ipc: inode(2),
    user: inode(3),
    pid: inode(4),
    net: inode(5),
    cgroup: inode(6),
    time: inode(7),
  }
}

const fields: { [F in ProcessField]: Field<ProcessInfo[F]> } = {
  pid: { decode: (row) => row.pid },
  state: stat((row) => String.fromCharCode(row.number('stat', 0))),
  ppid: stat((row) => row.number('stat', 1)),
  pgid: stat((row) => row.number('stat', 2)),
  sid: stat((row) => row.number('stat', 3)),
  tty: stat((row) => terminal(row.number('stat', 4))),
  userCPUTime: stat((row) => row.number('stat', 5) * TICK),
  systemCPUTime: stat((row) => row.number('stat', 6) * TICK),
  threads: stat((row) => row.number('stat', 7)),
  startTicks: stat((row) => row.number('stat', 8)),
  started: stat((row) => new Date(row.startOfClock + (row.number('stat', 8) * TICK) / 1000)),
  vsize: stat((row) => row.number('stat', 9)),
  rss: stat((row) => row.number('stat', 10)),
  comm: stat(sharedText('stat', 11, (text = '') => text)),
  uid: status(shared('status', 0, 4, (row) => ids(row, 0))),
  gid: status(shared('status', 4, 4, (row) => ids(row, 4))),
  groups: status((row) => list(row.text('status', 8))),
  nspid: status((row) => list(row.text('status', 9))),
  capabilities: status(shared('status', 10, 5, capabilities)),
  noNewPrivs: status((row) => row.number('status', 15) === 1),
  seccomp: status(shared('status', 16, 2, seccomp)),
  args: { file: 'cmdline', decode: (row) => args(row.text('cmdline', 0) ?? '') },
  executable: { file: 'exe', decode: sharedText('exe', 0, (text) => text) },
  cgroup: { file: 'cgroup', decode: sharedText('cgroup', 0, (text = '') => /^0::(.*)$/m.exec(text)?.[1]) },
  cgroupsV1: { file: 'cgroup', decode: sharedText('cgroup', 0, cgroupsV1) },
  label: { file: 'label', decode: sharedText('label', 0, (text) => text || undefined) },
  namespaces: { file: 'ns', decode: shared('ns', 0, 8, namespaces) },
}

export const processFields = Object.keys(fields) as ProcessField[]

/** The files that these fields are read from, as native/proc.h has them. */
export function filesOf(names: readonly ProcessField[]): number {
  return names.reduce((mask, name) => {
    const { file } = fields[name]
    return file === undefined ? mask : mask | files[file].bit
  }, 0)
}

/** /proc/PID/status: it tells a process from a thread, which has a directory of its own that is not listed. */
export const STATUS = files.status.bit

/** Makes objects with these fields. They are copies of one, so that none grows while it is filled. */
export function decoder<F extends ProcessField>(names: readonly F[]): (row: Rows) => Pick<ProcessInfo, F> {
  const empty = Object.fromEntries(names.map((name) => [name, undefined]))
  const decoders = names.map((name) => [name, fields[name].decode] as const)
  return (row) => {
    const info: Record<string, unknown> = { ...empty }
    for (const [name, decode] of decoders) info[name] = decode(row)
    return info as Pick<ProcessInfo, F>
  }
}
