// Makes a KernelError of what the native side tells of a failed setup.
import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import { cloneHint } from './cgroups.ts'
import { errnoName, KernelError } from './errors.ts'
import { type Checked, signalName } from './options.ts'
import type { SetupFailure } from './process.ts'
import { whyNotExecuted } from './selinux/execve.ts'
import { placeOf } from './step.ts'
import { whyNoUserNamespace } from './steps/namespace.ts'

const PHASE_PROLOGUE = 1
const PHASE_STEPS = 2
const PHASE_EXECVE = 3
const PHASE_CLONE3 = 102
const PHASE_EXECVEAT = 103

/** What fails before the helper runs, from 100 on; native/child.h. */
const launchCalls = [
  'socketpair',
  'memfd_create',
  'clone3',
  'execveat',
  'pthread_create',
  'clone3',
  'recvmsg',
]

/** In the order of fp_prologue_step in native/plan.h. */
const prologueCalls = [
  'close_range',
  'prctl(PR_SET_PDEATHSIG)',
  'capset',
  'open /proc',
  'rt_sigaction',
  'setsid',
  'dup3',
  'ioctl(TIOCSCTTY)',
  'prlimit64(RLIMIT_NOFILE)',
]

const CLONE_NEWUSER = 0x10000000

/** Steps by the places where the caller wrote them. */
export function stepNames({
  written: [from, to] = [0, Infinity],
  given,
}: Explained): (index: number) => string {
  return (index) => {
    if (index < from || index >= to) return 'join'
    return given === undefined ? `steps[${String(index - from)}]` : placeOf(given, index - from)
  }
}

/** What was wanted of the child. */
export type Explained = Pick<Checked, 'flags' | 'steps' | 'cgroup' | 'file' | 'path'> & {
  /** Which of the steps the caller wrote, from one index to another; the others are of `join`. */
  written?: readonly [from: number, to: number] | undefined
  /** As the caller gave them, in lists within lists. */
  given?: unknown
}

function readNumber(path: string): number | undefined {
  try {
    return Number(readFileSync(path, 'latin1'))
  } catch {
    return undefined
  }
}

function cloneHints(errno: number, options: Explained): string | undefined {
  const ofCgroup =
    options.cgroup === undefined
      ? undefined
      : cloneHint(errno, typeof options.cgroup === 'string' ? undefined : options.cgroup)
  if (ofCgroup !== undefined) return ofCgroup
  switch (errnoName(errno)) {
    case 'EPERM':
      if (options.flags & CLONE_NEWUSER) return whyNoUserNamespace()
      if (options.flags) return "namespaces need CAP_SYS_ADMIN; without it, have 'user' among them"
      return undefined
    case 'ENOSPC':
      return options.flags & CLONE_NEWUSER && readNumber('/proc/sys/user/max_user_namespaces') === 0
        ? whyNoUserNamespace()
        : 'a limit of /proc/sys/user/max_*_namespaces is reached, or they are nested 32 deep'
    case 'ENOSYS':
      return 'a seccomp filter around this process does not know clone3 (an old container engine), or the kernel is older than 5.3'
    case 'EEXIST':
      return 'a pid of setTid is taken'
    case 'EAGAIN':
      return 'too many processes: RLIMIT_NPROC, pids.max of a cgroup, or kernel.pid_max'
    case 'EINVAL':
      return 'this kernel does not know one of the namespaces, or setTid has more pids than there are nested pid namespaces'
    default:
      return undefined
  }
}

/** Steps after which a path of ours may be another file, or none, for the child. */
const movers = new Set(['mount', 'umount2', 'pivot_root', 'chroot', 'chdir', 'fchdir', 'setns', 'unshare'])

function interpreterOf(path: string): string | undefined {
  const fd = openSync(path, 'r')
  try {
    const head = Buffer.alloc(4096)
    const length = readSync(fd, head, 0, head.length, 0)
    const text = head.toString('latin1', 0, length)
    if (text.startsWith('#!')) return /^#!\s*(\S+)/.exec(text)?.[1]
    return text.startsWith('\x7fELF')
      ? /\/[\x21-\x7e]*ld[\x21-\x7e]*\.so[\x21-\x7e]*/.exec(text)?.[0]
      : undefined
  } finally {
    closeSync(fd)
  }
}

/** Looks where the child looked, if that is where we are. */
function find({ file, path, steps }: Explained): string | undefined {
  if (steps.some((step) => movers.has(step.operation))) return undefined
  const places = file.includes('/')
    ? [file]
    : path.split(':').map((directory) => `${directory || '.'}/${file}`)
  return places.find((place) => existsSync(place))
}

function aboutFile(found: string | undefined): string | undefined {
  if (found === undefined) return undefined
  try {
    const stat = statSync(found)
    if (stat.isDirectory()) return `${found} is a directory`
    // Opening anything else, such as a FIFO, might wait for ever.
    if (!stat.isFile()) return `${found} is no regular file`
    if ((stat.mode & 0o111) === 0) return `${found} is not executable: chmod +x`
    const interpreter = interpreterOf(found)
    if (interpreter !== undefined && !existsSync(interpreter))
      return `${found} is there, its interpreter ${interpreter} is not`
  } catch {
    // Not readable for us: nothing to tell.
  }
  return undefined
}

function execveHint(errno: number, options: Explained, label?: string): string | undefined {
  const { file, path, steps } = options
  const found = find(options)
  switch (errnoName(errno)) {
    case 'ENOENT':
      return (
        aboutFile(found) ??
        (file.includes('/')
          ? 'there is no such file in the root that the steps made, or its interpreter is not there'
          : `not found in PATH=${path}, looked up in the root that the steps made; or its interpreter is not there`)
      )
    case 'EACCES':
      return (
        aboutFile(found) ??
        whyNotExecuted(steps, file, found, label) ??
        'not executable for this user, a directory, on a noexec mount, or SELinux forbids the transition'
      )
    case 'ENOEXEC':
      return 'no format that the kernel knows: a script without a #! line, or a program for another architecture'
    case 'E2BIG':
      return 'args and env together are limited to a quarter of RLIMIT_STACK, and each string to 128 KiB; or its cgroup has no memory for them'
    case 'ETXTBSY':
      return 'the program is open for writing somewhere'
    case 'EPERM':
      return (
        whyNotExecuted(steps, file, found, label) ??
        'a filesystem mounted nosuid, a traced process, or an LSM'
      )
    default:
      return undefined
  }
}

function end({ code, status }: SetupFailure): { signal?: NodeJS.Signals; text: string } {
  if (code === 2 || code === 3) return { signal: signalName(status), text: `killed by ${signalName(status)}` }
  return { text: `exited with ${String(status)}` }
}

/** It ended without an errno: somebody killed it, or one of its steps did. */
function died(
  failure: SetupFailure,
  syscall: string,
  oomKilled: () => boolean,
  rest: Partial<ConstructorParameters<typeof KernelError>[0]>,
): KernelError {
  const { signal, text } = end(failure)
  const reason = signal === 'SIGKILL' && oomKilled() ? 'oom_kill' : undefined
  const others = signal === 'SIGKILL' ? ': by kill(2), the OOM killer, or cgroup.kill' : ''
  const by = reason === undefined ? others : ': by the OOM killer (memory.events.local)'
  const hint = `the child was ${text} during its setup${by}`
  return new KernelError({ ...rest, errno: 0, signal, reason, syscall, hint })
}

const maps = new Set(['uid_map', 'gid_map', 'setgroups_deny'])

/** The mistake behind most failures of a map. */
function nothingToMap({ flags, steps }: Explained, index: number): string | undefined {
  if (!maps.has(steps[index]?.operation ?? '') || flags & CLONE_NEWUSER) return undefined
  const entered = steps
    .slice(0, index)
    .some(({ operation }) => ['unshare', 'clone', 'setns'].includes(operation))
  return entered ? undefined : "there is no new user namespace to map: have 'user' among the namespaces"
}

/** What came to light beside the failure itself. */
interface Evidence {
  /** The words of a tool that a step stands for. */
  said: string | undefined
  oomKilled: () => boolean
}

export function explain(failure: SetupFailure, options: Explained, { said, oomKilled }: Evidence): Error {
  const { phase, step: index, errno } = failure
  if (phase === PHASE_STEPS) {
    const step = options.steps[index]
    const call = step?.calls[failure.call] ?? step?.calls[0]
    // Of a clone step's two the second is the helper's own: by it the new process tells of itself.
    const announcing = step?.operation === 'clone' && failure.call > 0
    const syscall = announcing ? 'pidfd_open' : (call?.syscall ?? step?.operation ?? 'step')
    const [from, to] = options.written ?? [0, Infinity]
    const where = {
      step: index >= from && index < to ? index - from : undefined,
      place: stepNames(options)(index),
      call: call && `${call.syscall}(${call.args.join(', ')})`,
      args: step?.args,
      path: step?.path,
      dest: step?.dest,
    }
    if (errno === 0) return died(failure, syscall, oomKilled, where)
    return new KernelError({
      ...where,
      errno,
      syscall,
      hint:
        said ??
        nothingToMap(options, index) ??
        (announcing ? filterHint(errno) : step?.hints[errnoName(errno)]),
    })
  }
  if (phase === PHASE_EXECVE) {
    return new KernelError({
      errno,
      syscall: 'execve',
      path: options.file,
      hint: execveHint(errno, options, failure.label),
    })
  }
  const syscall =
    phase >= 100 ? launchCalls[phase - 100] : phase === PHASE_PROLOGUE ? prologueCalls[index] : 'execveat'
  if (errno === 0) return died(failure, syscall ?? 'clone3', oomKilled, {})
  const hint =
    phase === PHASE_CLONE3
      ? cloneHints(errno, options)
      : (prologueHint(phase, index, errno) ??
        (unprivileged.has(syscall ?? '') ? filterHint(errno) : undefined))
  return new KernelError({ errno, syscall: syscall ?? 'clone3', hint })
}

/** Of calls that need no privilege. */
function filterHint(errno: number): string | undefined {
  return ['EPERM', 'ENOSYS'].includes(errnoName(errno))
    ? 'a seccomp filter around this process refuses this call, or does not know it (an old container engine)'
    : undefined
}

const unprivileged = new Set(['socketpair', 'memfd_create', 'execveat', 'recvmsg', 'close_range'])

function prologueHint(phase: number, index: number, errno: number): string | undefined {
  if (errnoName(errno) === 'ECANCELED') return 'this process ended meanwhile'
  if (phase === PHASE_EXECVEAT && errnoName(errno) === 'EACCES')
    return 'the sysctl vm.memfd_noexec is 2 here: no sealed image can be executed, and only such a one joins namespaces safely'
  if (phase === PHASE_PROLOGUE && prologueCalls[index] === 'open /proc') {
    return 'a step writes below /proc/self, and no procfs is mounted at /proc'
  }
  return undefined
}
