// bpf(2): programs of BPF_PROG_TYPE_CGROUP_DEVICE, loaded and attached to cgroups. The kernel's structures, without libbpf.
import { errnoName, KernelError } from './errors.ts'
import { Fd } from './fd.ts'
import { native } from './native.ts'

const BPF_PROG_LOAD = 5
const BPF_PROG_ATTACH = 8
const BPF_PROG_DETACH = 9
const BPF_PROG_GET_FD_BY_ID = 13
const BPF_OBJ_GET_INFO_BY_FD = 15
const BPF_PROG_QUERY = 16

const BPF_PROG_TYPE_CGROUP_DEVICE = 15
const BPF_CGROUP_DEVICE = 6

const BPF_F_ALLOW_MULTI = 2
const BPF_F_REPLACE = 4

/** More programs than a cgroup takes: BPF_CGROUP_MAX_PROGS. */
const MOST_PROGRAMS = 64
const NAME_LENGTH = 16
const LOG_SIZE = 1 << 16
/** Of the verifier's log, which ends with the reason, in an error. */
const LOG_LINES = 12

const PRIVILEGE =
  'eBPF takes CAP_SYS_ADMIN, or CAP_BPF (Linux 5.8) and CAP_NET_ADMIN, in the first user namespace; before Linux 5.11 also memory below RLIMIT_MEMLOCK'

const usual: Readonly<Record<string, string>> = {
  EPERM: PRIVILEGE,
  ENOSYS: 'this kernel has no bpf(2): CONFIG_BPF_SYSCALL',
}

function failure(result: number, command: string, hints: Readonly<Record<string, string>>): KernelError {
  const name = errnoName(-result)
  return new KernelError({ errno: -result, syscall: `bpf(${command})`, hint: hints[name] ?? usual[name] })
}

/** 32-bit fields from the start; those that hold an address are left 0. */
function attributes(size: number, ...fields: number[]): Uint8Array {
  const bytes = new Uint8Array(size)
  const view = new DataView(bytes.buffer)
  for (const [i, field] of fields.entries()) view.setUint32(4 * i, field, true)
  return bytes
}

async function call(
  command: [number: number, name: string],
  attr: Uint8Array,
  pointers: readonly [offset: number, buffer: Uint8Array][] = [],
  hints: Readonly<Record<string, string>> = {},
): Promise<number> {
  const buffers = pointers.map(([, buffer]) => buffer)
  const offsets = pointers.map(([offset]) => offset)
  const result = await native().bpf(command[0], attr, buffers, offsets)
  if (result < 0) throw failure(result, command[1], hints)
  return result
}

function text(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return Buffer.from(bytes.subarray(0, end < 0 ? undefined : end)).toString('utf8')
}

const zeroTerminated = (value: string): Uint8Array => Buffer.from(`${value}\0`)

async function load(instructions: Uint8Array, name: string, log: Uint8Array | undefined): Promise<number> {
  const level = log === undefined ? [0, 0] : [1, log.length]
  const attr = attributes(72, BPF_PROG_TYPE_CGROUP_DEVICE, instructions.length / 8, 0, 0, 0, 0, ...level)
  attr.set(Buffer.from(name).subarray(0, NAME_LENGTH - 1), 48)
  new DataView(attr.buffer).setUint32(68, BPF_CGROUP_DEVICE, true)
  const pointers: [number, Uint8Array][] = [
    [8, instructions],
    [16, zeroTerminated('MIT')],
  ]
  if (log !== undefined) pointers.push([32, log])
  return native().bpf(BPF_PROG_LOAD, attr, pointers.map(([, buffer]) => buffer), pointers.map(([offset]) => offset)) // prettier-ignore
}

/** A program by its instructions, 8 bytes each. What the verifier refuses is an error with its log. */
export async function loadDeviceProgram(instructions: Uint8Array, name: string): Promise<Fd> {
  const result = await load(instructions, name, undefined)
  if (result >= 0) return new Fd(result, `eBPF program ${name}`)
  const log = new Uint8Array(LOG_SIZE)
  // The verifier explains itself only if asked to, which costs time.
  const again = await load(instructions, name, log)
  if (again >= 0) return new Fd(again, `eBPF program ${name}`)
  const said = text(log).trim().split('\n').slice(-LOG_LINES).join('\n')
  throw failure(result, 'BPF_PROG_LOAD', {
    EINVAL: said === '' ? 'this kernel has no CONFIG_CGROUP_BPF' : `the verifier says:\n${said}`,
    ...(said !== '' && { EACCES: `the verifier says:\n${said}`, E2BIG: `the verifier says:\n${said}` }),
  })
}

/** Beside those of others (BPF_F_ALLOW_MULTI); in the place of `replaced`, without a moment in which neither is there. */
export async function attachDeviceProgram(cgroup: number, program: Fd, replaced?: Fd): Promise<void> {
  const flags = replaced === undefined ? BPF_F_ALLOW_MULTI : BPF_F_ALLOW_MULTI | BPF_F_REPLACE
  const attr = attributes(20, cgroup, program.fd, BPF_CGROUP_DEVICE, flags, replaced?.fd ?? 0)
  await call([BPF_PROG_ATTACH, 'BPF_PROG_ATTACH'], attr, [], {
    EPERM: `${PRIVILEGE}; or somebody has attached one here or above without BPF_F_ALLOW_MULTI`,
    EINVAL: 'this kernel has no CONFIG_CGROUP_BPF, or (before Linux 5.6) no BPF_F_REPLACE',
    E2BIG: `the cgroup has ${String(MOST_PROGRAMS)} programs`,
  })
}

export async function detachDeviceProgram(cgroup: number, program: Fd): Promise<void> {
  const attr = attributes(12, cgroup, program.fd, BPF_CGROUP_DEVICE)
  await call([BPF_PROG_DETACH, 'BPF_PROG_DETACH'], attr)
}

/** Ids of those that are attached to this very cgroup. */
export async function deviceProgramIds(cgroup: number): Promise<number[]> {
  const ids = new Uint8Array(4 * MOST_PROGRAMS)
  const attr = attributes(32, cgroup, BPF_CGROUP_DEVICE, 0, 0, 0, 0, MOST_PROGRAMS)
  await call([BPF_PROG_QUERY, 'BPF_PROG_QUERY'], attr, [[16, ids]], {
    EINVAL: 'this kernel has no CONFIG_CGROUP_BPF',
  })
  const count = new DataView(attr.buffer).getUint32(24, true)
  const view = new DataView(ids.buffer)
  return Array.from({ length: count }, (_, i) => view.getUint32(4 * i, true))
}

/** Undefined for one that is gone. Needs CAP_SYS_ADMIN. */
export async function openProgram(id: number): Promise<Fd | undefined> {
  const fd = await native().bpf(BPF_PROG_GET_FD_BY_ID, attributes(12, id), [], [])
  if (fd < 0 && errnoName(-fd) === 'ENOENT') return undefined
  if (fd < 0) throw failure(fd, 'BPF_PROG_GET_FD_BY_ID', {})
  return new Fd(fd, `eBPF program ${String(id)}`)
}

export async function programName(program: Fd): Promise<string> {
  const info = new Uint8Array(80)
  const attr = attributes(16, program.fd, info.length)
  await call([BPF_OBJ_GET_INFO_BY_FD, 'BPF_OBJ_GET_INFO_BY_FD'], attr, [[8, info]])
  return text(info.subarray(64, 64 + NAME_LENGTH))
}
