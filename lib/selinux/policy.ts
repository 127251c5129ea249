// Questions to the loaded policy.
import { promises as fs, readdirSync } from 'node:fs'
import { kernelError } from '../cgroups/files.ts'
import { invalid, show } from '../errors.ts'
import { text } from '../steps/arguments.ts'
import { type ContextLike, contextText } from './context.ts'
import { enabled, offHint, quietly } from './enabled.ts'
import { ask, mountPoint, read } from './selinuxfs.ts'

/** A bit of the decision's last word. */
const PERMISSIVE = 1

/** What the policy says of a source, a target and a class. Permissions are by their names. */
export interface Decision {
  readonly allowed: readonly string[]
  /** Logged when they are granted. */
  readonly auditallow: readonly string[]
  /** Logged when they are denied; what is denied and not here is denied silently. */
  readonly auditdeny: readonly string[]
  /** Counts the loads of policies: an older answer with another number may be stale. */
  readonly sequence: number
  /** The source is a permissive domain: denials are logged only. */
  readonly permissive: boolean
}

function checkName(value: unknown, argument: string): string {
  const name = text(value, argument)
  if (!/^\w+$/.test(name)) throw invalid(argument, `no name: ${show(name)}`)
  return name
}

const listed = (path: string): string => quietly(() => readdirSync(path).join(', ')) ?? 'none'

function classIndex(syscall: string, tclass: unknown): { name: string; index: number } {
  const name = checkName(tclass, `${syscall}: class`)
  const index = read(syscall, `class/${name}/index`, () => `the loaded policy has no class ${name}`)
  return { name, index: Number(index) }
}

/** The permission's bit. */
function permissionBit(syscall: string, tclass: string, permission: string): number {
  const directory = `class/${tclass}/perms`
  const value = read(
    syscall,
    `${directory}/${permission}`,
    () => `in the loaded policy ${tclass} has ${listed(`${mountPoint(syscall)}/${directory}`)}`,
  )
  return (1 << (Number(value) - 1)) >>> 0
}

interface Vector {
  allowed: number
  auditallow: number
  auditdeny: number
  sequence: number
  flags: number
}

function vector(syscall: string, source: ContextLike, target: ContextLike, index: number): Vector {
  const from = contextText(source, `${syscall}: source`)
  const to = contextText(target, `${syscall}: target`)
  const words = ask(syscall, 'access', `${from} ${to} ${String(index)}`).split(' ')
  const [allowed, , auditallow, auditdeny, , flags] = words.map((word) => parseInt(word, 16))
  return {
    allowed: allowed ?? 0,
    auditallow: auditallow ?? 0,
    auditdeny: auditdeny ?? 0,
    sequence: Number(words[4]),
    flags: flags ?? 0,
  }
}

/**
 * `int selinux_check_access(const char *scon, const char *tcon, const char *tclass, const char *perm, void *)`:
 * would the kernel let `source` do that to `target`? Where the policy denies it, the answer is still true if the
 * source is a permissive domain, or nothing is enforced. Of several permissions all are needed. Nothing is
 * logged. By selinuxfs's `access`. Since Linux 2.6.
 *
 * Acts on: nothing. Needs selinuxfs, and policy has to allow security:compute_av.
 *
 * | errno      | when |
 * |------------|------|
 * | EOPNOTSUPP | SELinux is off |
 * | ENOENT     | the policy has no such class or permission; or selinuxfs is not mounted |
 * | EINVAL     | the policy knows no such context |
 * | EACCES     | policy forbids to ask; or the user may not write to selinuxfs |
 * | EROFS      | selinuxfs is mounted read-only, as container engines do |
 *
 * See `man 3 selinux_check_access`.
 */
export function check(
  source: ContextLike,
  target: ContextLike,
  tclass: string,
  permission: string | readonly string[],
): boolean {
  const syscall = 'selinux_check_access'
  const list: readonly unknown[] = Array.isArray(permission) ? permission : [permission]
  const names = list.map((name) => checkName(name, `${syscall}: permission`))
  const { name, index } = classIndex(syscall, tclass)
  const wanted = names.reduce((all, one) => all | permissionBit(syscall, name, one), 0)
  const { allowed, flags } = vector(syscall, source, target, index)
  if ((wanted & ~allowed) === 0 || flags & PERMISSIVE) return true
  return read(syscall, 'enforce') === '0'
}

/**
 * `int security_compute_av(const char *scon, const char *tcon, security_class_t tclass, access_vector_t
 * requested, struct av_decision *avd)`: all that the policy allows `source` to do to `target`, whether anything
 * is enforced or not. By selinuxfs's `access`. Since Linux 2.6.
 *
 * Acts on: nothing. Needs selinuxfs, and policy has to allow security:compute_av.
 *
 * Errnos: those of `check`.
 *
 * See `man 3 security_compute_av`.
 */
export function computeAv(source: ContextLike, target: ContextLike, tclass: string): Decision {
  const syscall = 'security_compute_av'
  const { name, index } = classIndex(syscall, tclass)
  const { allowed, auditallow, auditdeny, sequence, flags } = vector(syscall, source, target, index)
  const permissions = readdirSync(`${mountPoint(syscall)}/class/${name}/perms`).map(
    (permission) => [permission, permissionBit(syscall, name, permission)] as const,
  )
  const names = (bits: number): string[] =>
    permissions.flatMap(([permission, bit]) => (bits & bit ? [permission] : [])).sort()
  return {
    allowed: names(allowed),
    auditallow: names(auditallow),
    auditdeny: names(auditdeny),
    sequence,
    permissive: (flags & PERMISSIVE) !== 0,
  }
}

/** The kernel's sscanf ends a name at a blank. */
function encodeName(name: string): string {
  return Array.from(Buffer.from(name), (byte) => {
    const character = String.fromCharCode(byte)
    return /[\w.-]/.test(character) ? character : `%${byte.toString(16).padStart(2, '0')}`
  }).join('')
}

function compute(call: string, file: string, args: readonly unknown[], name?: string): string {
  const syscall = `security_compute_${call}`
  const [source, target, tclass] = args
  const from = contextText(source, `${syscall}: source`)
  const to = contextText(target, `${syscall}: target`)
  const object = name === undefined ? '' : ` ${encodeName(text(name, `${syscall}: name`, { most: 255 }))}`
  const { index } = classIndex(syscall, tclass)
  return ask(syscall, file, `${from} ${to} ${String(index)}${object}`)
}

/**
 * `int security_compute_create_name(const char *scon, const char *tcon, security_class_t tclass, const char
 * *objname, char **newcon)`: the context of what `source` creates in `target`: of class 'process' that of a
 * program which `source` executes from a file of context `target`; of 'file' and its like that of a new one in a
 * directory. By selinuxfs's `create`. Since Linux 2.6.
 *
 * Acts on: nothing. Needs selinuxfs, and policy has to allow security:compute_create.
 *
 * Errnos: those of `check`.
 *
 * See `man 3 security_compute_create_name`.
 */
export function computeCreate(
  source: ContextLike,
  target: ContextLike,
  tclass: string,
  name?: string,
): string {
  return compute('create', 'create', [source, target, tclass], name)
}

/**
 * `int security_compute_member(const char *scon, const char *tcon, security_class_t tclass, char **newcon)`: the
 * context of `source`'s own instance of a polyinstantiated object. By selinuxfs's `member`. Since Linux 2.6.
 *
 * Acts on: nothing. Needs selinuxfs, and policy has to allow security:compute_member.
 *
 * Errnos: those of `check`.
 *
 * See `man 3 security_compute_member`.
 */
export function computeMember(source: ContextLike, target: ContextLike, tclass: string): string {
  return compute('member', 'member', [source, target, tclass])
}

/**
 * `int security_compute_relabel(const char *scon, const char *tcon, security_class_t tclass, char **newcon)`: the
 * context that an object should get for `source`'s sake, as a terminal at a login. By selinuxfs's `relabel`.
 * Since Linux 2.6.
 *
 * Acts on: nothing. Needs selinuxfs, and policy has to allow security:compute_relabel.
 *
 * Errnos: those of `check`.
 *
 * See `man 3 security_compute_relabel`.
 */
export function computeRelabel(source: ContextLike, target: ContextLike, tclass: string): string {
  return compute('relabel', 'relabel', [source, target, tclass])
}

/**
 * `int security_canonicalize_context(const char *con, char **canoncon)`: the context as the kernel prints it. By
 * selinuxfs's `context`. Since Linux 2.6.
 *
 * Acts on: nothing. Needs selinuxfs, and policy has to allow security:check_context.
 *
 * | errno      | when |
 * |------------|------|
 * | EOPNOTSUPP | SELinux is off |
 * | EINVAL     | the policy knows no such context |
 * | ENOENT     | selinuxfs is not mounted |
 * | EACCES     | policy forbids to ask; or the user may not write to selinuxfs |
 *
 * See `man 3 security_canonicalize_context`.
 */
export function canonicalize(context: ContextLike): string {
  const syscall = 'security_canonicalize_context'
  return ask(syscall, 'context', contextText(context, `${syscall}: context`))
}

/**
 * `int security_check_context(const char *con)`: does the loaded policy know this context? By selinuxfs's
 * `context`. Since Linux 2.6.
 *
 * Acts on: nothing. Needs selinuxfs, and policy has to allow security:check_context.
 *
 * Errnos: those of `canonicalize`, but for EINVAL, which is an answer.
 *
 * See `man 3 security_check_context`.
 */
export function validate(context: ContextLike): boolean {
  const syscall = 'security_check_context'
  try {
    ask(syscall, 'context', contextText(context, `${syscall}: context`))
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EINVAL') return false
    throw error
  }
}

export interface PolicyBoolean {
  readonly current: boolean
  /** What a commit would make it. */
  readonly pending: boolean
}

/**
 * `int security_get_boolean_names(char ***names, int *len)`: the policy's booleans by name, with what
 * `security_get_boolean_active` and `security_get_boolean_pending` say of each. By selinuxfs's `booleans`. Since
 * Linux 2.6.
 *
 * Acts on: nothing. Needs selinuxfs.
 *
 * | errno      | when |
 * |------------|------|
 * | EOPNOTSUPP | SELinux is off |
 * | ENOENT     | selinuxfs is not mounted |
 * | EACCES     | policy forbids to read them |
 *
 * See `man 3 security_get_boolean_names`.
 */
export async function booleans(): Promise<Record<string, PolicyBoolean>> {
  const syscall = 'security_get_boolean_names'
  const path = `${mountPoint(syscall)}/booleans`
  try {
    const entries = []
    for (const name of (await fs.readdir(path)).sort()) {
      const [current, pending] = (await fs.readFile(`${path}/${name}`, 'latin1')).split(' ')
      entries.push([name, { current: current === '1', pending: pending === '1' }] as const)
    }
    return Object.fromEntries(entries)
  } catch (error) {
    throw kernelError(error, { syscall, path })
  }
}

export interface SelinuxOn {
  readonly enabled: true
  /** False: denials are logged only. */
  readonly enforcing: boolean
  /** The newest format of a policy that this kernel takes. */
  readonly policyVersion: number
  /** Contexts have a level: MLS, or MCS. */
  readonly mls: boolean
  /** deny_unknown and reject_unknown: what becomes of a permission that the kernel has and the policy does not know. */
  readonly handleUnknown: 'allow' | 'deny' | 'reject'
  /** Whether policy may allow transitions in spite of no_new_privs and nosuid (Linux 4.14). */
  readonly nnpNosuidTransition: boolean
  /** The policy's capabilities, by name, those of them that this kernel has. */
  readonly capabilities: Readonly<Record<string, boolean>>
}

export type SelinuxStatus = { readonly enabled: false; readonly why: string } | SelinuxOn

/**
 * `int security_getenforce(void)`: what SELinux does here, with `is_selinux_enabled`, `security_policyvers`,
 * `security_deny_unknown`, `is_selinux_mls_enabled` and the policy's capabilities in one. Where it is off that is
 * the answer, and no error. Since Linux 2.6.
 *
 * Acts on: nothing. Needs selinuxfs.
 *
 * | errno  | when |
 * |--------|------|
 * | ENOENT | SELinux is on, and selinuxfs is not mounted |
 * | EACCES | policy forbids to read it |
 *
 * See `man 3 security_getenforce`, `man 8 selinux`.
 */
export function status(): SelinuxStatus {
  if (!enabled()) return { enabled: false, why: offHint() }
  const syscall = 'security_getenforce'
  const flag = (file: string): boolean => read(syscall, file) === '1'
  const directory = 'policy_capabilities'
  const names = readdirSync(`${mountPoint(syscall)}/${directory}`).sort()
  const capabilities = Object.fromEntries(names.map((name) => [name, flag(`${directory}/${name}`)]))
  return {
    enabled: true,
    enforcing: flag('enforce'),
    policyVersion: Number(read(syscall, 'policyvers')),
    mls: flag('mls'),
    handleUnknown: flag('reject_unknown') ? 'reject' : flag('deny_unknown') ? 'deny' : 'allow',
    nnpNosuidTransition: capabilities['nnp_nosuid_transition'] ?? false,
    capabilities,
  }
}
