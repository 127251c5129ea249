// Decodes what native/proc.cc has read: numbers and texts of each process, file by file.
import type { CapabilitySets, Ids, ProcessField, ProcessInfo, Seccomp } from './info.ts'
import { terminal } from './terminal.ts'

/** In the order of native/proc.h: how many numbers a row has of each, and which of those are lengths of texts. */
const files = {
  stat: { bit: 1, width: 12, texts: [11] },
  status: { bit: 2, width: 18, texts: [8, 9] },
  cmdline: { bit: 4, width: 1, texts: [0] },
  exe: { bit: 8, width: 1, texts: [0] },
  cgroup: { bit: 16, width: 1, texts: [0] },
  label: { bit: 32, width: 1, texts: [0] },
  ns: { bit: 64, width: 8, texts: [] },
} as const

type File = keyof typeof files

const TICK = 10_000

/** The rows of a batch, one after the other. */
export class Rows {
  readonly #numbers: Float64Array
  readonly #bits: BigUint64Array
  readonly #heap: Buffer
  readonly #width: number
  /** Where in a row the numbers of each file are. */
  readonly #places: Partial<Record<File, number>> = {}
  /** Columns that are lengths, and where in the heap the texts of this row start. */
  readonly #lengths: number[] = []
  readonly #starts: number[] = []
  readonly #end: number
  #row: number
  #used = 0
  /** Milliseconds since 1970 at which start times begin to count. */
  readonly startOfClock: number

  constructor(buffer: ArrayBuffer, mask: number, startOfClock: number) {
    this.startOfClock = startOfClock
    let width = 1
    for (const [name, { bit, width: own, texts }] of Object.entries(files)) {
      if ((mask & bit) === 0) continue
      this.#places[name as File] = width
      for (const text of texts) this.#lengths.push(width + text)
      width += own
    }
    this.#width = width
    const count = new Float64Array(buffer, 0, 1)[0] ?? 0
    this.#end = 1 + count * width
    this.#numbers = new Float64Array(buffer, 0, this.#end)
    this.#bits = new BigUint64Array(buffer, 0, this.#end)
    this.#heap = Buffer.from(buffer, this.#end * 8)
    this.#row = 1 - width
  }

  /** On to the next one; false when there is none. */
  next(): boolean {
    this.#row += this.#width
    if (this.#row >= this.#end) return false
    for (const column of this.#lengths) {
      this.#starts[column] = this.#used
      this.#used += Math.max(0, this.#numbers[this.#row + column] ?? 0)
    }
    return true
  }

  get pid(): number {
    return this.#numbers[this.#row] ?? NaN
  }

  number(file: File, index: number): number {
    return this.#numbers[this.#row + this.#column(file, index)] ?? NaN
  }

  /** A number that is all of 64 bits. */
  bits(file: File, index: number): bigint {
    return this.#bits[this.#row + this.#column(file, index)] ?? 0n
  }

  /** Undefined where it may not be read, or is not there. */
  text(file: File, index: number): string | undefined {
    const length = this.number(file, index)
    const start = this.#starts[this.#column(file, index)] ?? 0
    return length < 0 ? undefined : this.#heap.toString('utf8', start, start + length)
  }

  #column(file: File, index: number): number {
    return (this.#places[file] ?? NaN) + index
  }
}

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

/** NUL-terminated each, unless the process has written something else there. */
function args(text: string): string[] {
  return text === '' ? [] : (text.endsWith('\0') ? text.slice(0, -1) : text).split('\0')
}

const noCgroups: Readonly<Record<string, string>> = {}
const cgroups = { text: '', v1: noCgroups }

/** Lines like '4:cpu,cpuacct:/path'; that of v2 is '0::/path'. Most processes are where the one before them was. */
function cgroupsV1(text: string): Record<string, string> {
  if (cgroups.text !== text) {
    const lines = text.matchAll(/^[1-9]\d*:([^:]*):(.*)$/gm)
    const entries = Array.from(lines, ([, controllers = '', path = '']) => [controllers, path] as const)
    cgroups.text = text
    cgroups.v1 = Object.fromEntries(entries)
  }
  return { ...cgroups.v1 }
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
  comm: stat((row) => row.text('stat', 11) ?? ''),
  uid: status((row) => ids(row, 0)),
  gid: status((row) => ids(row, 4)),
  groups: status((row) => list(row.text('status', 8))),
  nspid: status((row) => list(row.text('status', 9))),
  capabilities: status(capabilities),
  noNewPrivs: status((row) => row.number('status', 15) === 1),
  seccomp: status(seccomp),
  args: { file: 'cmdline', decode: (row) => args(row.text('cmdline', 0) ?? '') },
  executable: { file: 'exe', decode: (row) => row.text('exe', 0) },
  cgroup: { file: 'cgroup', decode: (row) => /^0::(.*)$/m.exec(row.text('cgroup', 0) ?? '')?.[1] },
  cgroupsV1: { file: 'cgroup', decode: (row) => cgroupsV1(row.text('cgroup', 0) ?? '') },
  label: { file: 'label', decode: (row) => row.text('label', 0) || undefined },
  namespaces: { file: 'ns', decode: namespaces },
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

export function decode<F extends ProcessField>(rows: Rows, names: readonly F[]): Pick<ProcessInfo, F> {
  const info: Partial<ProcessInfo> = {}
  for (const name of names) info[name] = fields[name].decode(rows)
  return info as Pick<ProcessInfo, F>
}
