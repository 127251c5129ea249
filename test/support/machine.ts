// Each test declares the machine it is for: `on({ user: 'root', lsm: 'selinux' }).test('…', …)`.
// What doesn't apply is skipped, with its reason in the name: reporter.mjs reads it from there.
import { describe, test } from '@jest/globals'
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { release } from 'node:os'
import { delimiter, join } from 'node:path'

type AnyOf<T> = T | readonly T[]

export interface Machine {
  user?: 'root' | 'ordinary'
  /** The security module that labels processes. */
  lsm?: AnyOf<'selinux' | 'apparmor' | 'none'>
  /** `hybrid`: the v2 hierarchy is there, v1 holds controllers; `v2-any`: either of the two. */
  cgroup?: AnyOf<'v2' | 'hybrid' | 'v2-any' | 'none'>
  /** Controllers that the v2 hierarchy has at its root. */
  controllers?: AnyOf<string>
  /** The oldest kernel. */
  kernel?: string
  /** The oldest kernel that it is not for: what an older one lacks. */
  before?: string
  arch?: AnyOf<'x64' | 'arm64'>
  /** Programs on PATH, all of them. */
  tools?: AnyOf<string>
  /** Whether this user may create a user namespace. */
  userns?: boolean
  /** Pressure stall information, which a kernel may have and not start. */
  psi?: boolean
  /** false: not with the addon built for the sanitizers. */
  sanitizer?: boolean
  /** What only one file asks: whether it is so here, and what it is that is needed. */
  own?: readonly [isSo: boolean, needed: string]
}

export interface Facts {
  user: 'root' | 'ordinary'
  lsm: 'selinux' | 'apparmor' | 'none'
  cgroup: 'v2' | 'hybrid' | 'none'
  /** Where the v2 hierarchy is mounted. */
  cgroupRoot: string | undefined
  controllers: readonly string[]
  kernel: string
  arch: string
  readonly userns: boolean
  psi: boolean
  sanitizer: boolean
}

const list = <T>(value: AnyOf<T> | undefined): readonly T[] =>
  value === undefined ? [] : Array.isArray(value) ? (value as readonly T[]) : [value as T]

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return ''
  }
}

function cgroupRoot(): string | undefined {
  for (const line of read('/proc/self/mountinfo').split('\n')) {
    const [mount, filesystem] = line.split(' - ')
    if (filesystem?.startsWith('cgroup2 ')) return mount?.split(' ')[4]
  }
  return undefined
}

const root = cgroupRoot()
let userns: boolean | undefined

export const facts: Facts = {
  user: process.getuid?.() === 0 ? 'root' : 'ordinary',
  lsm: existsSync('/sys/fs/selinux/enforce')
    ? 'selinux'
    : read('/sys/module/apparmor/parameters/enabled') === 'Y'
      ? 'apparmor'
      : 'none',
  cgroup: root === undefined ? 'none' : root === '/sys/fs/cgroup' ? 'v2' : 'hybrid',
  cgroupRoot: root,
  controllers: root === undefined ? [] : read(join(root, 'cgroup.controllers')).split(' ').filter(Boolean),
  kernel: release(),
  arch: process.arch,
  get userns() {
    return (userns ??= spawnSync('unshare', ['--user', 'true']).status === 0)
  },
  psi: existsSync('/proc/pressure/cpu'),
  sanitizer: process.env['FANCYPROC_SANITIZER'] === '1',
}

function hasProgram(name: string): boolean {
  return [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'].some((directory) => {
    try {
      accessSync(join(directory, name), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

function older(version: string, wanted: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map((part) => parseInt(part))
  const [wantedMajor = 0, wantedMinor = 0] = wanted.split('.').map(Number)
  return major < wantedMajor || (major === wantedMajor && minor < wantedMinor)
}

/** Why a test for `machine` doesn't apply here; undefined if it does. */
export function unmet(machine: Machine): string | undefined {
  const { user, lsm, cgroup, kernel, before, arch, userns, psi, sanitizer, own } = machine
  if (user && user !== facts.user) return `needs ${user === 'root' ? 'root' : 'an ordinary user'}`
  if (lsm && !list(lsm).includes(facts.lsm)) {
    return `needs LSM ${list(lsm).join(' or ')}, here: ${facts.lsm}`
  }
  if (cgroup) {
    const here: readonly string[] = facts.cgroup === 'none' ? ['none'] : [facts.cgroup, 'v2-any']
    if (!list(cgroup).some((wanted) => here.includes(wanted))) {
      return `needs cgroup ${list(cgroup).join(' or ')}, here: ${facts.cgroup}`
    }
  }
  const controllers = list(machine.controllers).filter((name) => !facts.controllers.includes(name))
  if (controllers.length > 0) return `needs cgroup v2 controller ${controllers.join(', ')}`
  if (kernel && older(facts.kernel, kernel)) return `needs Linux ${kernel}, here: ${facts.kernel}`
  if (before && !older(facts.kernel, before)) return `needs Linux before ${before}, here: ${facts.kernel}`
  if (arch && !list<string>(arch).includes(facts.arch)) return `needs ${list(arch).join(' or ')}`
  const tools = list(machine.tools).filter((name) => !hasProgram(name))
  if (tools.length > 0) return `needs ${tools.join(', ')}`
  if (userns !== undefined && userns !== facts.userns) {
    return `needs a user who ${userns ? 'may' : 'may not'} create user namespaces`
  }
  if (psi !== undefined && psi !== facts.psi) return `needs a kernel ${psi ? 'with' : 'without'} PSI (psi=1)`
  if (sanitizer !== undefined && sanitizer !== facts.sanitizer) {
    return sanitizer ? 'needs the sanitizer build' : 'not with the sanitizer build'
  }
  if (own && !own[0]) return `needs ${own[1]}`
  return undefined
}

type Body = () => void | Promise<void>

export interface Declared {
  test: (name: string, body: Body, timeout?: number) => void
  describe: (name: string, body: () => void) => void
}

export function on(machine: Machine): Declared {
  const reason = unmet(machine)
  if (reason === undefined) {
    return {
      test: (name, body, timeout) => {
        test(name, body, timeout === undefined ? undefined : patient(timeout))
      },
      describe: (name, body) => {
        describe(name, body)
      },
    }
  }
  const marked = (name: string): string => `${name} [skipped: ${reason}]`
  return {
    test: (name, body) => {
      test.skip(marked(name), body)
    },
    describe: (name, body) => {
      describe.skip(marked(name), body)
    },
  }
}

/** A count for this machine: FANCYPROC_SCALE 0.1 makes a tenth of the work, 10 ten times as much. */
export function scaled(count: number): number {
  return Math.max(1, Math.round(count * Number(process.env['FANCYPROC_SCALE'] ?? 1)))
}

/** How long to wait here for what takes `milliseconds` elsewhere: FANCYPROC_SLOWNESS 10 is for a machine ten times slower. */
export function patient(milliseconds: number): number {
  return milliseconds * Number(process.env['FANCYPROC_SLOWNESS'] ?? 1)
}
