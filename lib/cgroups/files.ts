// Interface files of a cgroup: names, values, and what their errors mean.
import { constants, promises as fs } from 'node:fs'
import { release } from 'node:os'
import { errnoName, invalid, KernelError, type KernelErrorDetails, show } from '../errors.ts'
import { formatOf } from './interface.ts'

/** What statfs says of a cgroup2 mount. */
export const CGROUP2_SUPER_MAGIC = 0x63677270

/** What an interface file takes; a number is in the file's own unit (bytes, µs, …). */
export type CgroupValue = number | bigint | string

type Hints = Readonly<Record<string, string>>

// Not `instanceof`: an error of node:fs belongs to the main realm, also where this code runs in a vm context.
function isSystemError(error: unknown): error is NodeJS.ErrnoException & { errno: number } {
  return typeof error === 'object' && error !== null && 'errno' in error && typeof error.errno === 'number'
}

export function codeOf(error: unknown): string | undefined {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : undefined
}

const usual: Hints = {
  EROFS: 'cgroup2 is mounted read-only here, as container engines do unless told otherwise',
}

/** An error of node:fs as ours. */
export function kernelError(
  error: unknown,
  details: Partial<KernelErrorDetails> = {},
  hints: Hints = {},
): unknown {
  if (error instanceof KernelError || !isSystemError(error)) return error
  const errno = Math.abs(error.errno)
  const code = errnoName(errno)
  return new KernelError({
    errno,
    syscall: error.syscall ?? 'open',
    path: error.path,
    hint: hints[code] ?? usual[code],
    cause: error,
    ...details,
  })
}

/** The controller that a file belongs to; none for the core's, and for those which every cgroup has. */
export function controllerOf(file: string): string | undefined {
  const controller = file.slice(0, file.indexOf('.'))
  if (controller === 'cgroup' || file.endsWith('.pressure') || file.startsWith('cpu.stat')) return undefined
  return controller
}

export function checkFile(file: unknown, argument: string): string {
  if (typeof file !== 'string' || !/^[A-Za-z0-9_]+(\.[A-Za-z0-9_-]+)+$/.test(file)) {
    throw invalid(argument, `expected a file's name such as 'pids.max', got ${show(file)}`)
  }
  return file
}

export function checkValue(value: unknown, argument: string): string {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value)
  if (typeof value === 'bigint') return String(value)
  if (typeof value === 'string' && !value.includes('\0')) return value
  throw invalid(argument, `expected an integer or a string, got ${show(value)}`)
}

/** The name of a directory below a cgroup. */
export function checkName(name: unknown, argument: string): string {
  if (typeof name !== 'string' || name === '') throw invalid(argument, `expected a name, got ${show(name)}`)
  if (name === '.' || name === '..' || /[/\0\n]/.test(name)) {
    throw invalid(argument, `no name of a directory: ${show(name)}`)
  }
  return name
}

export async function readFile(path: string, file: string): Promise<string> {
  try {
    return await fs.readFile(`${path}/${file}`, 'utf8')
  } catch (error) {
    throw kernelError(error, { path: `${path}/${file}` }, await fileHints(path, file, error))
  }
}

/** Its words, whether they stand on one line or on many. */
export async function readWords(path: string, file: string): Promise<string[]> {
  return (await readFile(path, file)).split(/\s+/).filter((word) => word !== '')
}

export async function writeFile(path: string, file: string, value: string): Promise<void> {
  try {
    // Without O_CREAT, which makes EACCES of a name that isn't there.
    const handle = await fs.open(`${path}/${file}`, constants.O_WRONLY)
    try {
      // One write, and a newline, so that an empty value is written too.
      await handle.write(`${value}\n`)
    } finally {
      await handle.close()
    }
  } catch (error) {
    throw kernelError(error, { path: `${path}/${file}` }, await fileHints(path, file, error, value))
  }
}

const removed = 'this cgroup has been removed'
const noDevice = 'there is no such device (a partition is none), or this cgroup has been removed'

async function fileHints(path: string, file: string, error: unknown, value?: string): Promise<Hints> {
  const code = codeOf(error)
  if (code === 'ENODEV')
    return { ENODEV: value !== undefined && /^(io|rdma)\./.test(file) ? noDevice : removed }
  if (code === 'ENOENT') return { ENOENT: await missingHint(path, file) }
  if (value === undefined) {
    return file.endsWith('.pressure')
      ? { EOPNOTSUPP: 'PSI is off on this kernel: it takes psi=1 on its command line' }
      : { EOPNOTSUPP: 'a threaded cgroup lists its members in cgroup.threads only' }
  }
  if (file === 'cgroup.procs') {
    return {
      EBUSY:
        'it has controllers enabled for its children (cgroup.subtree_control), so that it can have no processes itself',
      EOPNOTSUPP:
        "its type is 'domain invalid': it is beside or below a threaded one, and not threaded itself",
      EACCES:
        'this needs write permission on cgroup.procs here and in the nearest cgroup above both this one and the process',
      EPERM:
        'this needs write permission on cgroup.procs here and in the nearest cgroup above both this one and the process',
      EINVAL: 'a kernel thread can not be moved',
    }
  }
  if (file === 'memory.reclaim') return { EAGAIN: 'the kernel could not reclaim as much' }
  if (file === 'cgroup.kill') return { EOPNOTSUPP: 'it is threaded: kill the domain above it' }
  if (file === 'cgroup.subtree_control') {
    return {
      EBUSY: 'this cgroup has processes of its own, or a cgroup below it uses the controller',
      EOPNOTSUPP: 'not in a threaded cgroup (cgroup.type)',
      EACCES: 'an ordinary user needs a subtree that was delegated to him',
    }
  }
  return {
    EINVAL: `the kernel does not take ${show(value)} here`,
    ERANGE: `${show(value)} is beyond what the kernel takes here`,
    EACCES: 'an ordinary user needs a subtree that was delegated to him',
  }
}

async function missingHint(path: string, file: string): Promise<string> {
  const siblings = await fs.readdir(path).catch(() => undefined)
  if (siblings === undefined) return removed
  if (!siblings.includes('cgroup.type')) return 'the root of the hierarchy has no such file'
  const since = formatOf(file)?.since
  if (since !== undefined && isOlder(since)) return `it needs Linux ${since}, this is ${release()}`
  const controller = controllerOf(file)
  const same = siblings.filter((name) => name.startsWith(`${controller ?? 'cgroup'}.`))
  if (controller !== undefined && !same.some((name) => controllerOf(name) === controller)) {
    return `${controller} is not enabled for this cgroup: see enable() of the one above`
  }
  return `there are ${same.join(', ')}`
}

function isOlder(kernel: string): boolean {
  const [major = 0, minor = 0] = kernel.split('.').map(Number)
  const [ours = 0, oursMinor = 0] = release()
    .split('.')
    .map((part) => parseInt(part))
  return ours < major || (ours === major && oursMinor < minor)
}

export async function exists(path: string): Promise<boolean> {
  return fs.access(path).then(
    () => true,
    () => false,
  )
}

export async function isCgroup2(path: string): Promise<boolean> {
  return (await fs.statfs(path)).type === CGROUP2_SUPER_MAGIC
}
