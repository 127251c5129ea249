// Which permission an execve lacked that was to be in another domain.
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseMountinfo } from '../mountinfo.ts'
import { native } from '../native.ts'
import type { Step } from '../step.ts'
import { labelling } from '../steps/lsm.ts'
import { advice } from './advice.ts'
import { quietly } from './enabled.ts'
import { check } from './policy.ts'

const PR_SET_NO_NEW_PRIVS = 38

/** Of a regular file. */
function labelOf(path: string): string | undefined {
  const fd = openSync(path, 'r')
  try {
    const about = native().describe(fd)
    return typeof about !== 'number' && typeof about[4] === 'string' ? about[4] : undefined
  } finally {
    closeSync(fd)
  }
}

function isNosuid(path: string): boolean {
  const mounts = parseMountinfo(readFileSync('/proc/thread-self/mountinfo', 'utf8'))
  const around = mounts.filter(({ mountPoint }) => path.startsWith(join(mountPoint, '/')))
  const nearest = around.reduce((one, other) =>
    other.mountPoint.length >= one.mountPoint.length ? other : one,
  )
  return nearest.options.includes('nosuid')
}

function hasNoNewPrivs(steps: readonly Step[]): boolean {
  if (steps.some(({ operation, args }) => operation === 'prctl' && args[0] === PR_SET_NO_NEW_PRIVS))
    return true
  return /^NoNewPrivs:\t1$/m.test(readFileSync('/proc/self/status', 'latin1'))
}

/** What was to be executed. */
interface Program {
  /** As it was given. */
  name: string
  /** Where we see the file that the child saw, if we do. */
  path: string | undefined
  /** Its label, as the child saw it. */
  told: string | undefined
}

interface Question {
  source: string
  target: string
  tclass: string
  permission: string
}

/** In the kernel's order. */
function questions(
  from: string,
  to: string,
  steps: readonly Step[],
  path?: string,
  label?: string,
): Question[] {
  const process = (tclass: string, permission: string): Question => ({
    source: from,
    target: to,
    tclass,
    permission,
  })
  const file = (source: string, permission: string): Question[] =>
    label === undefined ? [] : [{ source, target: label, tclass: 'file', permission }]
  if (from === to) return [...file(from, 'execute'), ...file(from, 'execute_no_trans')]
  return [
    ...file(from, 'execute'),
    ...(hasNoNewPrivs(steps) ? [process('process2', 'nnp_transition')] : []),
    ...(path !== undefined && isNosuid(path) ? [process('process2', 'nosuid_transition')] : []),
    process('process', 'transition'),
    ...file(to, 'entrypoint'),
  ]
}

/** What container policies let begin a domain of theirs; undefined where the loaded one doesn't. */
function betterLabel(domain: string): string | undefined {
  const label = ['system_u', 'object_r', 'container_file_t', ...domain.split(':').slice(3)].join(':')
  return quietly(() => check(domain, label, 'file', ['entrypoint', 'read'])) === true ? label : undefined
}

function ask(steps: readonly Step[], to: string, { name, path, told }: Program): string | undefined {
  const changed = steps.findLast(({ operation }) => operation === 'setcon')?.path
  const from = changed ?? readFileSync('/proc/thread-self/attr/current', 'utf8').replace(/[\0\n]+$/, '')
  const label = told ?? (path === undefined ? undefined : quietly(() => labelOf(path)))
  const all = questions(from, to, steps, path, label)
  const about = label === undefined ? '' : `; ${path ?? name} is ${label}`
  const lacking = all.find((one) => !check(one.source, one.target, one.tclass, one.permission))
  if (lacking !== undefined) {
    const { source, target, tclass, permission } = lacking
    const problem = advice(source, target, tclass, [permission])
    const better = permission === 'entrypoint' ? betterLabel(to) : undefined
    const instead = better === undefined ? '' : `; as ${better} it could be (selinux.relabel)`
    return `SELinux refuses ${tclass}:${permission} of ${source} to ${target}: ${problem}${about}${instead}`
  }
  if (label !== undefined) return undefined
  return (
    `SELinux lets ${from} become ${to}; whether that program may be executed (file:execute), and begin that domain ` +
    '(file:entrypoint), depends on its label, in the root that the steps made: container_file_t for container_t'
  )
}

/**
 * What the loaded policy says to a failed execve for which steps have set a label. Undefined where the policy was not
 * in the way, or does not answer.
 */
export function whyNotExecuted(
  steps: readonly Step[],
  name: string,
  path: string | undefined,
  told: string | undefined,
): string | undefined {
  const to = steps[labelling(steps)]?.path
  if (to === undefined) return undefined
  return quietly(() => ask(steps, to, { name, path: path && resolve(path), told }))
}
