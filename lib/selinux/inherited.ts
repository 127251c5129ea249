// May the program use the descriptors that it is given? At an execve that changes the label the kernel puts its
// /null in place of each one that the new domain may not use, and says nothing: a mute program.
import { closeSync, constants, openSync, readFileSync } from 'node:fs'
import { constants as os } from 'node:os'
import { KernelError } from '../errors.ts'
import { isFdLike } from '../fd.ts'
import { native } from '../native.ts'
import { Step } from '../step.ts'
import { labelling } from '../steps/lsm.ts'
import { advice } from './advice.ts'
import { quietly } from './enabled.ts'
import { check, computeCreate } from './policy.ts'
import { mountPoint } from './selinuxfs.ts'

/** Of the caller, or a terminal that a step opens. */
type Origin = number | 'terminal'

interface Target {
  label: string
  tclass: string
  permissions: readonly string[]
}

const cached = { sequence: -1, answers: new Map<string, boolean>() }

/** What check() says, asked once for each policy that is loaded. */
function allows(source: string, { label, tclass, permissions }: Target): boolean {
  // Counts loads of a policy, changes of booleans, and setenforce.
  const sequence = readFileSync(`${mountPoint('selinux_check_access')}/status`).readUInt32LE(4)
  if (sequence !== cached.sequence) Object.assign(cached, { sequence, answers: new Map() })
  const key = [source, label, tclass, ...permissions].join(' ')
  const known = cached.answers.get(key)
  if (known !== undefined) return known
  const answer = check(source, label, tclass, permissions)
  // Levels are many.
  if (cached.answers.size > 1000) cached.answers.clear()
  cached.answers.set(key, answer)
  return answer
}

const O_ACCMODE = 3
const TIOCGPTPEER = 0x5441

const AF_UNIX = 1
const AF_INET = 2
const AF_INET6 = 10
const SOCK_STREAM = 1
const SOCK_DGRAM = 2

/** Those of which nothing is known here are the kernel's to judge. */
function classOf(mode: number, domain: number, type: number): string | undefined {
  switch (mode & constants.S_IFMT) {
    case constants.S_IFREG:
      return 'file'
    case constants.S_IFDIR:
      return 'dir'
    case constants.S_IFCHR:
      return 'chr_file'
    case constants.S_IFBLK:
      return 'blk_file'
    case constants.S_IFIFO:
      return 'fifo_file'
    case constants.S_IFSOCK:
      if (domain === AF_UNIX) return type === SOCK_DGRAM ? 'unix_dgram_socket' : 'unix_stream_socket'
      if (domain !== AF_INET && domain !== AF_INET6) return undefined
      return type === SOCK_STREAM ? 'tcp_socket' : type === SOCK_DGRAM ? 'udp_socket' : undefined
    default:
      return undefined
  }
}

function permissionsOf(flags: number): string[] {
  const writes = flags & constants.O_APPEND ? 'append' : 'write'
  const access = flags & O_ACCMODE
  return [access !== constants.O_WRONLY ? 'read' : '', access !== constants.O_RDONLY ? writes : ''].filter(
    Boolean,
  )
}

function describe(fd: number): Target | undefined {
  const about = native().describe(fd)
  if (typeof about === 'number') return undefined
  const [mode, flags, domain, type, label] = about
  const tclass = classOf(mode, domain, type)
  if (tclass === undefined || typeof label !== 'string') return undefined
  return { label, tclass, permissions: permissionsOf(flags) }
}

/** Of a terminal in the devpts that the steps mount, or else in ours. */
function terminal(own: string, steps: readonly Step[]): Target | undefined {
  const data = steps.findLast(({ operation, args }) => operation === 'mount' && args[2] === 'devpts')?.args[4]
  const [, context] = /(?:^|,)context="([^"]*)"/.exec(typeof data === 'string' ? data : '') ?? []
  const label = context ?? newTerminal(own)
  return label === undefined ? undefined : { label, tclass: 'chr_file', permissions: ['read', 'write'] }
}

function newTerminal(own: string): string | undefined {
  const fd = quietly(() => openSync('/dev/pts', constants.O_RDONLY | constants.O_DIRECTORY))
  if (fd === undefined) return undefined
  const directory = describe(fd)
  closeSync(fd)
  return directory && computeCreate(own, directory.label, 'chr_file')
}

/** Descriptors that the program will have, by what they are: those from elsewhere are not among them. */
function inherited(
  given: readonly { target: number; source: number }[],
  steps: readonly Step[],
): Map<number, Origin> {
  const table = new Map<number, Origin>(given.map(({ target, source }) => [target, source]))
  for (const { operation, args } of steps) {
    const [first, second] = args
    if (operation === 'close' && typeof first === 'bigint') table.delete(Number(first))
    if (operation === 'close_range') {
      for (const fd of table.keys()) if (fd >= Number(first) && fd <= Number(second)) table.delete(fd)
    }
    if (operation !== 'dup3') continue
    const origin = originOf(first, table)
    // With O_CLOEXEC it is not the program's.
    if (origin === undefined || args[2] !== 0) table.delete(Number(second))
    else table.set(Number(second), origin)
  }
  return table
}

function originOf(
  fd: Step['args'][number] | undefined,
  table: ReadonlyMap<number, Origin>,
): Origin | undefined {
  if (typeof fd === 'bigint') return table.get(Number(fd))
  if (isFdLike(fd)) return typeof fd === 'number' ? fd : fd.fd
  const isTerminal = fd instanceof Step && fd.operation === 'ioctl' && fd.args[1] === TIOCGPTPEER
  return isTerminal ? 'terminal' : undefined
}

function explain(domain: string, fd: number, target: Target): string {
  const { label, tclass, permissions } = target
  const lacking = permissions.filter((permission) => !check(domain, label, tclass, permission))
  const terminal =
    tclass === 'chr_file' ? ', or a terminal of a devpts that is mounted with a context it may use' : ''
  const reason = advice(domain, label, tclass, lacking)
  return `descriptor ${String(fd)}: {${lacking.join(' ')}} of ${tclass} ${label}: ${reason}${terminal}`
}

/** What keeps the domain from using a descriptor. */
function obstacle(domain: string, own: string, fd: number, target: Target | undefined): string | undefined {
  const use = { label: own, tclass: 'fd', permissions: ['use'] }
  const asked = [
    ...(domain === own ? [] : [use]),
    ...(target && target.permissions.length > 0 ? [target] : []),
  ]
  const refused = asked.find((one) => !allows(domain, one))
  return refused && explain(domain, fd, refused)
}

function mayChange(own: string, steps: readonly Step[], { operation, path: label = '' }: Step): boolean {
  if (operation === 'setcon') return allows(own, { label, tclass: 'process', permissions: ['dyntransition'] })
  const from = steps.findLast((step) => step.operation === 'setcon')?.path ?? own
  return from === label || allows(from, { label, tclass: 'process', permissions: ['transition'] })
}

/**
 * The error that a spawn would not give: its program starts, and each of its descriptors that the new domain may
 * not use is dead. Undefined where there is nothing to refuse, or nobody to ask.
 */
export function refusalOfInherited(
  file: string,
  steps: readonly Step[],
  given: readonly { target: number; source: number }[],
): KernelError | undefined {
  const index = labelling(steps)
  const step = steps[index]
  if (step?.path === undefined) return undefined
  const domain = step.path
  try {
    const own = readFileSync('/proc/thread-self/attr/current', 'utf8').replace(/[\0\n]+$/, '')
    // It will not get that far, and what the kernel says then is more to the point.
    if (!mayChange(own, steps, step)) return undefined
    const why: string[] = []
    for (const [fd, origin] of inherited(given, steps)) {
      const target = origin === 'terminal' ? terminal(own, steps) : describe(origin)
      const problem = obstacle(domain, own, fd, target)
      if (problem !== undefined) why.push(problem)
    }
    if (why.length === 0) return undefined
    const hint = `${domain} may not use what it is given; the kernel would put /null in its place\n  ${why.join('\n  ')}`
    const call = String(step).split('\n')[0]
    return new KernelError({
      errno: os.errno.EACCES,
      syscall: 'execve',
      path: file,
      step: index,
      call,
      args: step.args,
      hint,
    })
  } catch (error) {
    // A context that nobody knows fails in its step; without selinuxfs nobody can be asked.
    if (typeof (error as NodeJS.ErrnoException).errno === 'number') return undefined
    throw error
  }
}
