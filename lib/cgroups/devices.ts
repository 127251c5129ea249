// Which devices the processes of a cgroup may use: v2's way, an eBPF program that the kernel asks at each open and mknod.
import {
  attachDeviceProgram,
  detachDeviceProgram,
  deviceProgramIds,
  loadDeviceProgram,
  openProgram,
  programName,
} from '../bpf.ts'
import { invalid, show } from '../errors.ts'
import type { Fd } from '../fd.ts'
import { integer } from '../steps/arguments.ts'

/** What is allowed: `{ type: 'c', major: 1, minor: 3, access: 'rw' }`, without a number: any. */
export interface DeviceRule {
  /** A block or a character device; 'a', or nothing: either. */
  type?: 'a' | 'b' | 'c' | undefined
  major?: number | '*' | undefined
  minor?: number | '*' | undefined
  /** Some of 'r', 'w' and 'm', for mknod(2). */
  access: string
}

/** A program that is attached to a cgroup. */
export interface DeviceProgram {
  /** The kernel's; `bpftool prog show id ID`. */
  id: number
  name: string
  /** Made by `setDevices()`, of whichever process. */
  ours: boolean
}

interface Rule {
  type: number | undefined
  major: number | undefined
  minor: number | undefined
  access: number
}

/** BPF_DEVCG_DEV_*. */
const types: Readonly<Record<string, number | undefined>> = { a: undefined, b: 1, c: 2 }
/** BPF_DEVCG_ACC_*. */
const accesses: Readonly<Record<string, number>> = { m: 1, r: 2, w: 4 }

const bits = (access: string): number =>
  access.split('').reduce((all, letter) => all | (accesses[letter] ?? 0), 0)

/** For the verifier the cost grows with the square: it has a million instructions to look at. */
const MOST_RULES = 256
const LARGEST_MAJOR = 0xfff
const LARGEST_MINOR = 0xf_ffff

function deviceNumber(value: unknown, argument: string, most: number): number | undefined {
  return value === undefined || value === '*' ? undefined : integer(value, argument, 0, most)
}

function checkRule(given: unknown, argument: string): Rule {
  const rule = typeof given === 'string' ? parseRule(given, argument) : given
  if (typeof rule !== 'object' || rule === null) {
    throw invalid(
      argument,
      `expected a rule such as 'c 1:3 rwm' or { type: 'c', major: 1, minor: 3, access: 'rwm' }, got ${show(given)}`,
    )
  }
  const known = ['type', 'major', 'minor', 'access']
  for (const key of Object.keys(rule)) {
    if (!known.includes(key))
      throw invalid(`${argument}.${key}`, `no such key; known are ${known.join(', ')}`)
  }
  const { type = 'a', major, minor, access } = rule as Partial<Record<string, unknown>>
  if (typeof type !== 'string' || !Object.hasOwn(types, type)) {
    throw invalid(`${argument}.type`, `expected 'a', 'b' or 'c', got ${show(type)}`)
  }
  if (typeof access !== 'string' || !/^(?!.*(.).*\1)[rwm]+$/.test(access)) {
    throw invalid(`${argument}.access`, `expected some of 'r', 'w' and 'm', got ${show(access)}`)
  }
  return {
    type: types[type],
    major: deviceNumber(major, `${argument}.major`, LARGEST_MAJOR),
    minor: deviceNumber(minor, `${argument}.minor`, LARGEST_MINOR),
    access: bits(access),
  }
}

/** As v1's devices.allow takes it: 'c 1:3 rwm', 'b *:* m', 'a'. */
function parseRule(text: string, argument: string): DeviceRule {
  if (text === 'a') return { type: 'a', access: 'rwm' }
  const [, type, major, minor, access = ''] = /^([abc]) (\d+|\*):(\d+|\*) ([rwm]+)$/.exec(text) ?? []
  if (type === undefined)
    throw invalid(argument, `expected a rule such as 'c 1:3 rwm' or 'b *:* m', got ${show(text)}`)
  const number = (word: string | undefined): number | '*' => (word === '*' ? '*' : Number(word))
  return { type: type as 'a' | 'b' | 'c', major: number(major), minor: number(minor), access }
}

// Instructions: opcode, registers, offset, immediate value.
const LOAD = 0x61 // BPF_LDX | BPF_W | BPF_MEM
const MOVE = 0xbf
const SET = 0xb7
const AND = 0x57
const SHIFT_RIGHT = 0x77
const UNLESS = 0x55 // BPF_JNE against the immediate value
const EXIT = 0x95

type Instruction = readonly [opcode: number, target: number, source: number, offset: number, value: number]

const exit = (verdict: 0 | 1): Instruction[] => [
  [SET, 0, 0, 0, verdict],
  [EXIT, 0, 0, 0, 0],
]

/** r1: struct bpf_cgroup_dev_ctx; r2: accesses that nothing has allowed yet; r3: type; r4: major; r5: minor. */
const prologue: readonly Instruction[] = [
  [LOAD, 2, 1, 0, 0],
  [MOVE, 3, 2, 0, 0],
  [AND, 3, 0, 0, 0xffff],
  [SHIFT_RIGHT, 2, 0, 0, 16],
  [LOAD, 4, 1, 4, 0],
  [LOAD, 5, 1, 8, 0],
]

function compileRule({ type, major, minor, access }: Rule): Instruction[] {
  const allow: Instruction[] = [[AND, 2, 0, 0, 7 & ~access], [UNLESS, 2, 0, 2, 0], ...exit(1)]
  const conditions = (
    [
      [3, type],
      [4, major],
      [5, minor],
    ] as const
  ).filter(([, value]) => value !== undefined)
  const jumps = conditions.map(([register, value = 0], i): Instruction => {
    // To the next rule.
    return [UNLESS, register, 0, conditions.length - 1 - i + allow.length, value]
  })
  return [...jumps, ...allow]
}

function encode(instructions: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(8 * instructions.length)
  const view = new DataView(bytes.buffer)
  for (const [i, [opcode, target, source, offset, value]] of instructions.entries()) {
    view.setUint8(8 * i, opcode)
    view.setUint8(8 * i + 1, target | (source << 4))
    view.setInt16(8 * i + 2, offset, true)
    view.setInt32(8 * i + 4, value, true)
  }
  return bytes
}

/** The program: an access passes when the rules together allow all of it. */
export function compileDevices(rules: unknown): Uint8Array {
  if (!Array.isArray(rules)) throw invalid('setDevices: rules', `expected an array, got ${show(rules)}`)
  if (rules.length > MOST_RULES) {
    throw invalid('setDevices: rules', `${String(rules.length)} rules, more than ${String(MOST_RULES)}`)
  }
  const checked = (rules as unknown[]).map((rule, i) => checkRule(rule, `setDevices: rules[${String(i)}]`))
  return encode([...prologue, ...checked.flatMap(compileRule), ...exit(0)])
}

const NAME = 'fancyproc_dev'

/** Two that look for ours at the same time would both find none; and the last call is to win. Of this process. */
let turn: Promise<unknown> = Promise.resolve()

function inTurn<T>(action: () => Promise<T>): Promise<T> {
  const result = turn.then(action)
  turn = result.catch(() => undefined)
  return result
}

interface Attached extends DeviceProgram {
  program: Fd
}

/** With a descriptor of our own for the cgroup, so that it may be closed meanwhile, and one for each program. */
async function withPrograms<T>(
  cgroup: Fd,
  action: (fd: number, attached: readonly Attached[]) => Promise<T>,
): Promise<T> {
  const attached: Attached[] = []
  try {
    for (const id of await deviceProgramIds(cgroup.fd)) {
      const program = await openProgram(id)
      if (program === undefined) continue
      const entry = { id, program, name: '', ours: false }
      attached.push(entry)
      entry.name = await programName(program)
      entry.ours = entry.name === NAME
    }
    return await action(cgroup.fd, attached)
  } finally {
    for (const { program } of attached) program.close()
    cgroup.close()
  }
}

/** See `Cgroup.setDevices`. */
export async function setDevices(cgroup: Fd, rules: readonly (DeviceRule | string)[]): Promise<void> {
  const instructions = compileDevices(rules)
  const target = cgroup.dup()
  await inTurn(() =>
    withPrograms(target, async (fd, attached) => {
      const program = await loadDeviceProgram(instructions, NAME)
      const [replaced, ...others] = attached.filter(({ ours }) => ours)
      try {
        await attachDeviceProgram(fd, program, replaced?.program)
      } finally {
        program.close()
      }
      // Two processes that took no turns have each attached one. After that, so that there is no moment without.
      for (const other of others) await detachDeviceProgram(fd, other.program)
    }),
  )
}

/** See `Cgroup.unsetDevices`. */
export async function unsetDevices(cgroup: Fd): Promise<void> {
  const target = cgroup.dup()
  await inTurn(() =>
    withPrograms(target, async (fd, attached) => {
      for (const { program, ours } of attached) if (ours) await detachDeviceProgram(fd, program)
    }),
  )
}

/** See `Cgroup.devicePrograms`. */
export async function devicePrograms(cgroup: Fd): Promise<DeviceProgram[]> {
  return withPrograms(cgroup.dup(), (_, attached) =>
    Promise.resolve(attached.map(({ id, name, ours }) => ({ id, name, ours }))),
  )
}
