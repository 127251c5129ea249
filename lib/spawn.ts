import { once } from 'node:events'
import { fstatSync } from 'node:fs'
import { assertSpawnable, countOomKills, openForSpawn } from './cgroups.ts'
import type { Held } from './children.ts'
import { invalid, KernelError, show } from './errors.ts'
import { debug } from './debug.ts'
import { explain, type Explained, stepNames } from './explain.ts'
import { type FdLike, fdNumber, isFdLike } from './fd.ts'
import { holdMaps, type RunTool, writeMap } from './idmap.ts'
import { requireModule } from './lsm.ts'
import { joinSteps, type JoinSteps } from './join.ts'
import { native } from './native.ts'
import { type Checked, checkOptions, none, type SpawnOptions } from './options.ts'
import { AT_FDCWD, CTTY, encode, LABELLED, NEWUSER, type Plan, SETSID } from './plan.ts'
import { begin, Process, refuse, type SetupFailure, stop } from './process.ts'
import { refusalOfInherited } from './selinux/inherited.ts'
import { discard, type Prepared, prepare } from './stdio.ts'
import { format, lastIndexOf, type Step } from './step.ts'
import { SendFdStep } from './steps/fd.ts'
import { MapStep } from './steps/identity.ts'
import { labelling } from './steps/lsm.ts'
import { validateOrder } from './steps/order.ts'

const CLONE_NEWPID = 0x20000000
const CLONE_NEWUSER = 0x10000000
const EINVAL = 22

/** Steps name what they send; the native side counts. */
function nameFds(steps: readonly Step[]): { steps: readonly Step[]; names: string[] } {
  if (lastIndexOf(steps, 'send_fd') < 0) return { steps, names: [] }
  const numbers = new Map<string, number>()
  const numbered = steps.map((step) => {
    if (!(step instanceof SendFdStep)) return step
    const number = numbers.get(step.name) ?? numbers.size
    numbers.set(step.name, number)
    return step.at(number)
  })
  return { steps: numbered, names: [...numbers.keys()] }
}

function isInit(options: Checked): boolean {
  const last = lastIndexOf(options.steps, 'clone')
  if (last < 0) return (options.flags & CLONE_NEWPID) !== 0
  // unshare() makes a pid namespace for later children, of which the cloned one is the first.
  const makers = options.steps
    .slice(0, last + 1)
    .filter(({ operation }) => operation === 'unshare' || operation === 'clone')
  return makers.some(({ args }) => (Number(args[0]) & CLONE_NEWPID) !== 0)
}

/** Throws for lists that cannot work. */
export function checkSteps(options: Explained): void {
  const name = stepNames(options)
  validateOrder(options.steps, name)
  for (const step of options.steps) requireModule(step)
  if (options.flags & CLONE_NEWPID && lastIndexOf(options.steps, 'clone') >= 0) {
    throw invalid(
      name(options.steps.findIndex((step) => step.operation === 'clone')),
      "clone after namespaces: ['pid']: the kernel lets no first process of a pid namespace have a sibling (EINVAL); leave 'pid' to the clone step",
    )
  }
}

function requireOpen(fd: FdLike, argument: string): void {
  const number = fdNumber(fd, argument)
  try {
    fstatSync(number)
  } catch {
    throw invalid(argument, `fd ${String(number)} is not open`)
  }
}

/** The caller's fds, before pipes are made: one of these might get the number of a closed one. */
function checkGiven(options: Checked): void {
  for (const [target, source] of options.stdio.entries()) {
    if (typeof source === 'object') requireOpen(source, `stdio[${String(target)}]`)
  }
  checkGivenFds(options)
}

export function checkGivenFds(options: Explained): void {
  const { table } = native()
  for (let index = 0; index < options.steps.length; index++) {
    const { operation, args } = options.steps[index] as Step
    for (const i of table.get(operation)?.fds ?? []) {
      const value = args[i]
      if (isFdLike(value) && value !== AT_FDCWD) requireOpen(value, stepNames(options)(index))
    }
  }
}

const PR_SET_SECCOMP = 22

/** Whether the helper may look at the label of a program that was refused: a filter is to see execve and exit only. */
function asksForLabel(steps: readonly Step[]): boolean {
  if (steps[labelling(steps)]?.path === undefined) return false
  return !steps.some(
    ({ operation, args }) => operation === 'seccomp' || (operation === 'prctl' && args[0] === PR_SET_SECCOMP),
  )
}

function plan(options: Checked, steps: readonly Step[], stdio: Prepared): Plan {
  const terminal = stdio.pty ? SETSID | CTTY : 0
  return encode({
    steps,
    name: stepNames(options),
    program: options,
    stdio: stdio.placed,
    flags:
      terminal |
      (options.detached ? SETSID : 0) |
      (options.flags & CLONE_NEWUSER ? NEWUSER : 0) |
      (asksForLabel(steps) ? LABELLED : 0),
    floor: Math.max(3, options.stdio.length),
  })
}

/** Gives a plan to the native side: the child's id, or what kept it from being taken. */
export function submit(
  { bytes, given }: Plan,
  flags: number,
  cgroup = -1,
  setTid: Int32Array = none,
): number | KernelError {
  const result = native().spawn(bytes, given, flags, cgroup, setTid)
  return result < 0 ? new KernelError({ errno: -result, syscall: 'fcntl' }) : result
}

/** The steps as the native side takes them, and what they need from this side while they run. */
export interface Assembled {
  steps: readonly Step[]
  /** Of the fds that they send. */
  names: string[]
  held: Held
  explain: (failure: SetupFailure) => Error
}

export function assemble(options: Explained, oomKilled = (): boolean => false): Assembled {
  const { steps, names } = nameFds(holdMaps(options.steps, (options.flags & CLONE_NEWUSER) !== 0))
  // What a tool said whose failure is one of the child's step.
  const said = new Map<number, string>()
  return {
    steps,
    names,
    explain: (failure) => explain(failure, options, { said: said.get(failure.step), oomKilled }),
    held: async (index, pid, pidfd) => {
      const step = options.steps[index]
      if (!(step instanceof MapStep)) return EINVAL
      const { errno, said: words } = await writeMap(step, pid, pidfd, runTool)
      if (words !== undefined) said.set(index, words)
      return errno
    },
  }
}

/**
 * `long clone3(struct clone_args *args, size_t size)`, the steps in the given order in the child, `int execve(const char
 * *path, char *const argv[], char *const envp[])`: runs a file, looked up in the child's PATH, root and working directory.
 * Throws for bad input, before anything has happened; what the kernel refuses is told by `'error'` and by `exited`, as a
 * `KernelError`.
 *
 * Acts on: the child. Needs CAP_SYS_ADMIN for namespaces other than 'user', or a 'user' one beside them; the steps need what
 * each says.
 *
 * | errno | when |
 * |-------|------|
 * | ENOENT, EACCES, ENOEXEC | of execve: no such program, or none that may be executed |
 * | EPERM | no privilege for a namespace, or user namespaces are forbidden here |
 * | ENOSPC | a limit of /proc/sys/user/max_*_namespaces |
 * | EBUSY, EACCES, EOPNOTSUPP | the cgroup takes no processes |
 * | EAGAIN | pids.max, or RLIMIT_NPROC |
 * | EEXIST | a pid of setTid is taken |
 * | ENOSYS | a seccomp filter around this process knows no clone3 |
 *
 * Since Linux 5.10. See `man 2 clone3`, `man 2 execve`.
 */
export function spawn(file: string, options?: SpawnOptions): Process
export function spawn(file: string, args: readonly string[], options?: SpawnOptions): Process
export function spawn(
  file: string,
  second: readonly string[] | SpawnOptions = [],
  third?: SpawnOptions,
): Process {
  if (!Array.isArray(second) && third !== undefined)
    throw invalid('args', `expected an array of strings, got ${show(second)}`)
  const [args, given] = Array.isArray(second) ? [second, third ?? {}] : [[], second]
  const joined = tryJoin(given)
  try {
    const options = checkOptions(file, args, given, joined instanceof KernelError ? undefined : joined)
    checkSteps(options)
    checkGiven(options)
    if (joined instanceof KernelError) return start(options, -1, joined)
    const cgroup = options.cgroup === undefined ? undefined : openForSpawn(options.cgroup)
    try {
      if (cgroup) assertSpawnable(cgroup.fd)
      return start(options, cgroup?.fd ?? -1)
    } finally {
      cgroup?.close()
    }
  } finally {
    if (joined && !(joined instanceof KernelError)) joined[Symbol.dispose]()
  }
}

/** What the kernel refuses, or that the target has ended, is told as it is of a spawn. */
function tryJoin(given: unknown): JoinSteps | KernelError | undefined {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) return undefined
  const { join } = given as SpawnOptions
  if (join === undefined) return undefined
  try {
    return joinSteps(join)
  } catch (error) {
    if (error instanceof KernelError) return error
    throw error
  }
}

function start(options: Checked, cgroup: number, unjoined?: KernelError): Process {
  const { file, argv, columns, rows, signal } = options
  const oomKilled = cgroup < 0 ? undefined : countOomKills(cgroup)
  const { steps, ...assembled } = assemble(options, oomKilled)
  let stdio: Prepared = { placed: [], theirs: [], streams: [null, null, null], pty: undefined }
  let taken: number | Error | undefined = unjoined
  let results: Plan['results'] = []
  try {
    stdio = prepare(options.stdio, assembled.names.includes('pty'))
    taken ??= refusalOfInherited(file, options.steps, stdio.placed)
    if (signal?.aborted) taken ??= abortError(signal)
    if (columns !== undefined && rows !== undefined) stdio.pty?.resize(columns, rows)
    if (taken === undefined) {
      const encoded = plan(options, steps, stdio)
      results = encoded.results
      taken = submit(encoded, options.flags, cgroup, options.setTid)
    }
  } catch (error) {
    if (!(error instanceof KernelError)) {
      discard(stdio)
      throw error
    }
    taken ??= error
  }
  // From here on the child is being made: all else is done meanwhile.
  const child = new Process({
    file,
    argv,
    columns,
    rows,
    ...assembled,
    streams: stdio.streams,
    pty: stdio.pty,
    init: isInit(options),
    killSignal: options.killSignal,
    oomKilled,
  })
  if (typeof taken !== 'number') {
    discard(stdio)
    child[refuse](taken)
    return child
  }
  // The native side has copies.
  for (const fd of stdio.theirs.splice(0)) native().close(fd)
  debug?.('%s %j %j\n%s', file, argv, trace(options), format(options.steps))
  child[begin](taken, results)
  limit(child, options)
  return child
}

/** Not the environment, which may hold secrets. */
function trace({ namespaces, cgroup, stdio, setTid }: Checked): object {
  return {
    namespaces,
    cgroup: typeof cgroup === 'object' && 'path' in cgroup ? cgroup.path : cgroup,
    stdio,
    setTid: [...setTid],
  }
}

const runTool: RunTool = async (file, args) => {
  const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: process.env['PATH'] } })
  let stderr = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const { code } = await child.exited
  await once(child, 'close')
  return { code, stderr }
}

export function abortError(signal: AbortSignal): Error {
  return Object.assign(new Error('The operation was aborted', { cause: signal.reason }), {
    name: 'AbortError',
    code: 'ABORT_ERR',
  })
}

function limit(child: Process, { timeout, signal }: Checked): void {
  if (timeout !== undefined && timeout > 0) {
    const timer = setTimeout(() => {
      child[stop]('timeout')
    }, timeout).unref()
    child.once('close', () => {
      clearTimeout(timer)
    })
  }
  if (signal) {
    const abort = (): void => {
      if (child[stop]('aborted') && child.listenerCount('error') > 0) child.emit('error', abortError(signal))
    }
    signal.addEventListener('abort', abort, { once: true })
    // One whose setup failed has no 'exit'.
    for (const event of ['exit', 'close'] as const) {
      child.once(event, () => {
        signal.removeEventListener('abort', abort)
      })
    }
  }
}
