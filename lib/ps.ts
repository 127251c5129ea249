// The process table: /proc/PID of every process.
import { constants } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { check, errnoNumber, invalid, KernelError, outOfRange, show } from './errors.ts'
import { type FdLike, fdNumber, isFdLike, openFd, own } from './fd.ts'
import { native } from './native.ts'
import type { ProcessField, ProcessInfo } from './processes/info.ts'
import { decoder, filesOf, processFields, STATUS } from './processes/row.ts'
import { Rows } from './processes/rows.ts'
import { options as checkOptions, text } from './steps/arguments.ts'

/** Rows that are decoded in one turn of the event loop: well below a millisecond. */
const BATCH = 128
/** Bytes of a usual batch. */
const ROOM = 64 << 10
/** Batches that are read at the same time, of the four threads that libuv's pool has. */
const READERS = 2

export interface PsOptions<F extends ProcessField = ProcessField> {
  /** What to read; only the files that have it are opened. Default: everything. */
  fields?: readonly F[] | undefined
  /** Only these, in this order. One that is no process, also a thread's, is left out. Default: all, ascending. */
  pids?: readonly number[] | undefined
  /** Another procfs, such as that of a pid namespace: its root as a path or an fd, which may be O_PATH. Default: '/proc'. */
  proc?: FdLike | string | undefined
}

interface Checked<F extends ProcessField> {
  fields: readonly F[]
  pids: Int32Array | undefined
  proc: FdLike | string
}

function checked<F extends ProcessField>(given: PsOptions<F>): Checked<F> {
  const { fields, pids, proc = '/proc' } = checkOptions<PsOptions<F>>(given, 'ps', ['fields', 'pids', 'proc'])
  const names =
    fields === undefined
      ? (processFields as readonly string[] as readonly F[])
      : array(fields, 'ps: fields', 'names')
  if (names.length === 0) throw invalid('ps: fields', 'is empty')
  for (const [i, name] of names.entries()) {
    if (processFields.includes(name)) continue
    throw invalid(`ps: fields[${String(i)}]`, `no field ${show(name)}; known are ${processFields.join(', ')}`)
  }
  const wanted = pids && array(pids, 'ps: pids', 'pids')
  for (const [i, pid] of (wanted ?? []).entries()) checkPid(pid, `ps: pids[${String(i)}]`)
  if (typeof proc === 'string') text(proc, 'ps: proc')
  else if (!isFdLike(proc)) throw invalid('ps: proc', `expected a path or an fd, got ${show(proc)}`)
  else fdNumber(proc, 'ps: proc')
  return { fields: names, pids: wanted && Int32Array.from(wanted), proc }
}

/** A copy: the caller may change his while we wait. */
function array<T>(value: readonly T[], argument: string, of: string): readonly T[] {
  if (!Array.isArray(value)) throw invalid(argument, `expected an array of ${of}, got ${show(value)}`)
  return [...(value as readonly T[])]
}

function checkPid(pid: unknown, argument: string): number {
  if (typeof pid !== 'number') throw invalid(argument, `expected a pid, got ${show(pid)}`)
  if (!Number.isInteger(pid) || pid < 1 || pid > 0x7fff_ffff)
    throw outOfRange(argument, `no pid: ${show(pid)}`)
  return pid
}

/** On this thread, whose root and mount namespace may not be those of the pool. */
function openProc(proc: FdLike | string): number {
  if (typeof proc !== 'string') return check(native().dup(fdNumber(proc, 'ps: proc')), 'fcntl')
  try {
    return openFd(proc, constants.O_RDONLY)
  } catch (error) {
    const { errno = 0 } = error as NodeJS.ErrnoException
    throw new KernelError({ errno: -errno, syscall: 'open', path: proc, cause: error })
  }
}

function assertProcfs(fd: number, proc: FdLike | string): void {
  if (check(native().isProcfs(fd), 'fstatfs') === 1) return
  const path = typeof proc === 'string' ? proc : undefined
  const hint = 'no procfs is mounted there'
  throw new KernelError({ errno: errnoNumber('ENODEV') ?? 19, syscall: 'fstatfs', path, hint })
}

function result(answer: ArrayBuffer | number, syscall: string): ArrayBuffer {
  if (typeof answer === 'number') {
    const hint = answer === -(errnoNumber('EMFILE') ?? 24) ? 'RLIMIT_NOFILE is used up' : undefined
    check(answer, syscall, { path: '/proc', hint })
    throw new Error('unreachable')
  }
  return answer
}

/**
 * `getdents64(2)` of /proc, and the files of each process: every process, with the fields that are asked for. What this process may not read of another is
 * undefined in its row; each field says when.
 *
 * It is read natively, off the event loop's thread, and decoded in slices of less than a millisecond. Each process is
 * read through a descriptor of its directory, so a row is of one process, even if its pid is used again meanwhile;
 * one that ends before its row is complete is left out. So is one that the kernel hides: all of it for a procfs
 * mounted with `hidepid`, or where a security module forbids to look at its directory.
 *
 * Acts on: nothing. Needs no privilege; what takes that of ptrace(2) is said by the field.
 *
 * | errno | when |
 * |-------|------|
 * | ENOENT, EACCES | `proc` can't be opened |
 * | ENODEV | it is no procfs |
 * | EMFILE | this process has no descriptor left |
 *
 * Since Linux 5.10; a field that a kernel lacks is undefined. See `man 5 proc`.
 */
export async function ps<F extends ProcessField = ProcessField>(
  options: PsOptions<F> = {},
): Promise<Pick<ProcessInfo, F>[]> {
  const { fields, pids: wanted, proc } = checked(options)
  const fd = openProc(proc)
  own(fd)
  try {
    assertProcfs(fd, proc)
    const pids = wanted ?? new Int32Array(result(await native().listProcesses(fd), 'getdents64'))
    const files = filesOf(fields) | (wanted ? STATUS : 0)
    const decode = decoder(fields)
    const startOfClock = native().startOfClock()
    const found: Pick<ProcessInfo, F>[] = []
    let rooms = Array.from({ length: READERS }, () => new ArrayBuffer(ROOM))
    // They rest while rows are decoded: else that, and the garbage collector, would wait for a processor.
    for (let at = 0; at < pids.length;) {
      const size = Math.min(BATCH, Math.ceil((pids.length - at) / READERS))
      const reads = rooms.map((room) =>
        native().readProcesses(fd, files, pids.subarray(at, (at += size)), room),
      )
      rooms = (await Promise.all(reads)).map((answer) => result(answer, 'openat'))
      for (const room of rooms) {
        const rows = new Rows(room, files, startOfClock)
        while (rows.next()) found.push(decode(rows))
        await setImmediate()
      }
    }
    return found
  } finally {
    native().close(fd)
  }
}
