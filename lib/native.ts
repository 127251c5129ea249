// The sole importer of the binary, and its types. Functions return -errno when they fail.
import { check } from './errors.ts'
import { load } from './load.ts'

/** One row of native/operations.def. */
export interface Operation {
  readonly code: number
  readonly name: string
  readonly arguments: string
  /** Which of them are fds. */
  readonly fds: readonly number[]
  readonly scope: 'task' | 'fs' | 'files' | 'process' | 'mm' | 'namespace'
  readonly flags: number
  readonly kernel: string
}

/** Bits of Operation.flags, as in native/primitive.h. */
export const YIELDS_FD = 1
export const JOINS = 4
export const NEEDS_PROCFS = 8
export const CHILD_ONLY = 16

/** Kinds of event, of children and of polled fds, as in native/environment.h. */
export const EVENT_FD = 1
export const EVENT_HELD = 2
export const EVENT_SPAWN = 3
export const EVENT_ERROR = 4
export const EVENT_EXIT = 5
export const EVENT_DATA = 6
export const EVENT_POLLED = 7
export const EVENT_LABEL = 8

/** Length of an event's row: id, kind, values. */
export const EVENT_LENGTH = 14

/** Where JavaScript marks a row that it has looked at. */
export const EVENT_SEEN = EVENT_LENGTH - 1

export interface Binding {
  operations(): [string, string, Operation['scope'], number, string][]
  init(onEvents: (rows: Float64Array) => void): number
  /** An id for the child. */
  spawn(plan: Uint8Array, given: Int32Array, flags: number, cgroup: number, setTid: Int32Array): number
  /** 1 when it cancelled: the program does not run yet. */
  kill(id: number, signal: number): number
  resume(id: number, errno: number): number
  pidfd(id: number): number
  pidfdOpen(pid: number): number
  /** The id of a thread whose namespaces and ids spawns have. */
  identity(): number
  ref(): void
  unref(): void
  /** An id: from now on there is an event each time that one of these, EPOLLERR or EPOLLHUP comes of this fd, which it copies. */
  poll(fd: number, events: number): number
  unpoll(id: number): void
  /** bpf(2). The addresses of the buffers are put into the attributes at the offsets; the kernel may write into all of them. */
  bpf(
    command: number,
    attributes: Uint8Array,
    buffers: readonly Uint8Array[],
    offsets: readonly number[],
  ): Promise<number>
  /** Runs the plan's first step on this thread: its result and which of its calls gave that. */
  call(plan: Uint8Array): [result: number, call: number]
  pipe(ends: Int32Array): number
  socketpair(ends: Int32Array): number
  openpty(ends: Int32Array): number
  setWindowSize(fd: number, columns: number, rows: number): number
  setNonblocking(fd: number): number
  /** What an open descriptor stands for; the label is -errno where it has none. */
  describe(
    fd: number,
  ): number | [mode: number, flags: number, domain: number, type: number, label: string | number]
  dup(fd: number): number
  open(path: string, flags: number, mode: number): number
  /** To be closed when this environment ends, unless it is given up or closed before. */
  own(fd: number): void
  disown(fd: number): void
  close(fd: number): number
  pidfdSendSignal(pidfd: number, signal: number): number
  pidfdGetfd(pidfd: number, fd: number): number
  /** The wait status of a process that has been reaped; -EAGAIN before that, -ENOTTY before Linux 6.15. */
  pidfdExit(pidfd: number): number
  /** -EAGAIN: the kernel does not answer, as in a pid or user namespace. */
  connectorOpen(): number
  /** How many rows of four there were: native/connector.h. */
  connectorRead(fd: number, rows: Int32Array, lost: Float64Array): number
  connectorClose(fd: number): number
  /** -errno, or the rows that native/list_namespaces.cc writes. */
  namespaces(kinds: number, holders: number): Promise<number | { numbers: Float64Array; paths: string[] }>
  /** EINVAL for what is no namespace. */
  openNamespace(path: string): number
  /** An ioctl of a namespace. */
  nsfs(fd: number, request: number, argument: number): number
  isProcfs(fd: number): number
  /** Pids, as an Int32Array. */
  listProcesses(procfs: number): Promise<ArrayBuffer | number>
  /** Rows, see lib/processes/rows.ts: in `room` if that is large enough. */
  readProcesses(
    procfs: number,
    files: number,
    pids: Int32Array,
    room: ArrayBuffer,
  ): Promise<ArrayBuffer | number>
  /** Milliseconds since 1970 at which CLOCK_BOOTTIME was 0. */
  startOfClock(): number
  /** SELinux's attribute of the calling thread, by LSM_ATTR_*. */
  lsmGetSelfAttr(attribute: number): string | number
  /** Of a path, or of a copy of an fd, on libuv's pool. */
  getxattr(target: string | number, name: string, follow: boolean): Promise<Uint8Array | number>
  setxattr(
    target: string | number,
    name: string,
    follow: boolean,
    value: Uint8Array,
    flags: number,
  ): Promise<number>
  relabelBegin(root: string, label: string | null, crossMounts: boolean): RelabelWalk
  /** Labels the rows that it gave last, and goes on for a while. */
  relabelContinue(walk: RelabelWalk, labels: readonly (string | null)[]): Promise<RelabelAnswer>
  relabelEnd(walk: RelabelWalk): void
  /** F_OFD_SETLK, exclusive: fcntl_locking(2). Where the lock that is in the way ends, or 0. */
  lock(fd: number, start: number, length: number): number
}

declare const relabelWalk: unique symbol
export interface RelabelWalk {
  readonly [relabelWalk]: true
}

export type RelabelRow = [
  path: string,
  label: string | null,
  mode: number,
  uid: number,
  gid: number,
  size: number,
  dev: number,
  ino: number,
  nlink: number,
]

export type RelabelAnswer = [
  error: number,
  call: string,
  path: string,
  done: boolean,
  seen: number,
  changed: number,
  mounts: number,
  rows: RelabelRow[],
]

type Listener = (rows: Float64Array) => void

/** The binary, and what belongs to it: there may be several of this module, as Jest has them, but one binary. */
interface Native extends Binding {
  readonly table: ReadonlyMap<string, Operation>
  /** Each knows its own processes by their ids. */
  readonly listeners: Listener[]
}

let loaded: Native | undefined
let listener: Listener | undefined

/** Loaded at first use: a machine that only needs the types never looks for it. */
export function native(): Native {
  if (loaded) return loaded
  const binding = load() as Binding & Partial<Native>
  loaded = binding.table ? (binding as Native) : initialize(binding)
  if (listener) loaded.listeners.push(listener)
  return loaded
}

function initialize(binding: Binding): Native {
  const table = new Map<string, Operation>()
  for (const [code, [name, args, scope, flags, kernel]] of binding.operations().entries()) {
    const fds = Array.from(args, (kind, i) => (kind === 'f' || kind === 'F' ? i : -1)).filter((i) => i >= 0)
    table.set(name, { code, name, arguments: args, fds, scope, flags, kernel })
  }
  const listeners: Listener[] = []
  const events = binding.init((rows) => {
    for (const listen of listeners) listen(rows)
  })
  check(events, 'pthread_create')
  return Object.assign(binding, { table, listeners })
}

/** Before the first spawn, once. */
export function onEvents(listen: Listener): void {
  listener = listen
  loaded?.listeners.push(listen)
}
