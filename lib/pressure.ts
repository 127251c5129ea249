// Pressure stall information (PSI): how much time is lost by waiting for a resource. Documentation/accounting/psi.
import { constants, promises as fs } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type Changes, changes, checkSignal, END } from './changes.ts'
import { isGone } from './cgroups/events.ts'
import { codeOf, kernelError } from './cgroups/files.ts'
import { parsePressure, type Pressure } from './cgroups/keyed.ts'
import type { Place } from './cgroups/watched.ts'
import { invalid, show } from './errors.ts'
import { EPOLLERR, EPOLLPRI, poll } from './poll.ts'
import { integer, options as checkOptions } from './steps/arguments.ts'

/** 'irq': Linux 6.1, and `full` only. */
export type PressureResource = 'cpu' | 'memory' | 'io' | 'irq'

/** Some of the tasks were stalled, or all that are not idle at the same time. */
export type PressureLevel = 'some' | 'full'

export type Pressures = { readonly [Level in PressureLevel]?: Pressure }

export interface TriggerOptions {
  /** Ends it. */
  signal?: AbortSignal | undefined
}

const resources: readonly string[] = ['cpu', 'memory', 'io', 'irq'] satisfies PressureResource[]
const levels: readonly string[] = ['some', 'full'] satisfies PressureLevel[]

function oneOf(value: unknown, argument: string, known: readonly string[]): void {
  if (typeof value === 'string' && known.includes(value)) return
  throw invalid(argument, `expected ${known.map((one) => `'${one}'`).join(', ')}, got ${show(value)}`)
}

const MACHINE = '/proc/pressure'

const OFF =
  'PSI is off: the kernel needs CONFIG_PSI, and psi=1 on its command line where that has CONFIG_PSI_DEFAULT_DISABLED'

async function openHints(file: string, error: unknown): Promise<Readonly<Record<string, string>>> {
  const directory = dirname(file)
  if (codeOf(error) !== 'ENOENT') {
    const capability =
      directory === MACHINE
        ? 'before Linux 6.5 a trigger on the whole machine takes root with CAP_SYS_RESOURCE'
        : 'this needs write permission on the file: an ordinary user needs a subtree that was delegated to him'
    return { EACCES: capability, EPERM: capability, EOPNOTSUPP: OFF }
  }
  const siblings = await fs.readdir(directory).catch(() => undefined)
  if (siblings === undefined) return { ENOENT: directory === MACHINE ? OFF : 'this cgroup has been removed' }
  if (siblings.some((name) => /^(cpu(\.pressure)?|memory\.pressure)$/.test(name))) {
    return { ENOENT: 'irq needs Linux 6.1 and CONFIG_IRQ_TIME_ACCOUNTING' }
  }
  const hidden =
    siblings.includes('cgroup.pressure') && (await readText(`${directory}/cgroup.pressure`)).trim() === '0'
  return { ENOENT: hidden ? "this cgroup does not account for it: write '1' to cgroup.pressure" : OFF }
}

async function readText(file: string): Promise<string> {
  try {
    return await fs.readFile(file, 'utf8')
  } catch (error) {
    throw kernelError(error, { path: file }, await openHints(file, error))
  }
}

async function readPressure(file: string): Promise<Pressures> {
  return parsePressure(await readText(file))
}

const PERIOD = 2_000_000

function windowHint(level: PressureLevel, window: number): string {
  if (window % PERIOD !== 0) {
    return 'without CAP_SYS_RESOURCE the window must be a multiple of 2 s, 2000000 (Linux 6.5; earlier kernels demand the capability for /proc/pressure)'
  }
  return `this kernel has no '${level}' here`
}

/** Writes a trigger, which lives as long as the file is open, and polls for it. */
async function arm(
  file: string,
  trigger: { level: PressureLevel; stall: number; window: number },
  notify: (events: number) => void,
): Promise<() => void> {
  let handle: FileHandle | undefined
  try {
    handle = await fs.open(file, constants.O_RDWR | constants.O_NONBLOCK)
    // Of /proc/pressure the kernel replaces the last byte by a NUL.
    await handle.write(`${trigger.level} ${String(trigger.stall)} ${String(trigger.window)}\n`)
    return poll(handle, EPOLLPRI, notify)
  } catch (error) {
    const EINVAL = windowHint(trigger.level, trigger.window)
    throw kernelError(error, { path: file }, { ...(await openHints(file, error)), EINVAL })
  } finally {
    await handle?.close()
  }
}

/** By the file of a resource in its place; see `pressure.watch`. */
export function watchPressure(
  place: Place,
  file: string,
  resource: PressureResource,
  level: PressureLevel,
  stall: number,
  window: number,
  options: TriggerOptions = {},
): Changes<Pressures> {
  oneOf(resource, 'watchPressure: resource', resources)
  oneOf(level, 'watchPressure: level', levels)
  integer(window, 'watchPressure: window', 500_000, 10_000_000)
  integer(stall, 'watchPressure: stall', 1, window)
  const { signal } = checkOptions<TriggerOptions>(options, 'watchPressure', ['signal'])
  checkSignal(signal, 'watchPressure: signal')
  let fired = false
  let gone = false
  const subscribe = async (notify: () => void): Promise<() => void> => {
    const path = place.open()
    try {
      const disarm = await arm(`${path}/${file}`, { level, stall, window }, (events) => {
        gone ||= (events & EPOLLERR) !== 0
        fired = true
        notify()
      })
      return () => {
        disarm()
        place.close()
      }
    } catch (error) {
      place.close()
      throw error
    }
  }
  const look = async (): Promise<Pressures | undefined | typeof END> => {
    if (gone) return END
    if (!fired) return undefined
    fired = false
    try {
      return (await place.look((path) => readPressure(`${path}/${file}`))) ?? END
    } catch (error) {
      if (isGone(error)) return END
      throw error
    }
  }
  return changes({ subscribe, look }, signal)
}

const fileOf = (resource: PressureResource): string => `${MACHINE}/${resource}`

/** It has always been there, and stays. */
const machine: Place = { open: () => MACHINE, close: () => undefined, look: (use) => use(MACHINE) }

/**
 * `/proc/pressure/RESOURCE`: how much of its time the machine has lost by waiting: per cent of the last 10, 60 and
 * 300 seconds, and microseconds since boot. Since Linux 4.20; irq since 6.1.
 *
 * Acts on: the whole machine. Needs no privilege.
 *
 * | errno              | when |
 * |--------------------|------|
 * | ENOENT, EOPNOTSUPP | PSI is off: CONFIG_PSI_DEFAULT_DISABLED without psi=1, or no CONFIG_PSI; irq before 6.1 |
 *
 * See Documentation/accounting/psi.
 */
async function read(resource: PressureResource): Promise<Pressures> {
  oneOf(resource, 'pressure.read: resource', resources)
  return readPressure(fileOf(resource))
}

/**
 * `some 150000 1000000` written to `/proc/pressure/RESOURCE`, a PSI trigger: tells the pressure each time that tasks were
 * stalled for `stall` microseconds within `window` microseconds (500,000 to 10,000,000), at most once a window.
 * `for await (const { some } of pressure.watch('memory', 'some', 150_000, 2_000_000))`. It is armed by the first `next()`,
 * and gone with the loop. Since Linux 5.2.
 *
 * Acts on: the whole machine. Needs CAP_SYS_RESOURCE; since Linux 6.5 only for a window that is no multiple of 2 s.
 *
 * | errno | when |
 * |-------|------|
 * | ENOENT, EOPNOTSUPP | PSI is off: CONFIG_PSI_DEFAULT_DISABLED without psi=1, or no CONFIG_PSI |
 * | EACCES, EPERM | no CAP_SYS_RESOURCE, before Linux 6.5 |
 * | EINVAL | the same, since then, and the window is no multiple of 2 s; or 'full' for cpu before Linux 5.13 |
 *
 * See Documentation/accounting/psi, and `man 2 poll`.
 */
function watch(
  resource: PressureResource,
  level: PressureLevel,
  stall: number,
  window: number,
  options?: TriggerOptions,
): Changes<Pressures> {
  return watchPressure(machine, resource, resource, level, stall, window, options)
}

/** PSI of the whole machine, `/proc/pressure`; a cgroup has its own. */
export const pressure = { read, watch } as const
