// Interface files of a cgroup: names, values, and what their errors mean.
import { constants, promises as fs } from 'node:fs'
import { errnoName, errnoNumber, invalid, KernelError, type KernelErrorDetails, show } from '../errors.ts'
import { realPath } from './facts.ts'
import { type Hints, readHint, writeHint } from './hints.ts'

/** What statfs says of a cgroup2 mount. */
export const CGROUP2_SUPER_MAGIC = 0x63677270

/** What an interface file takes; a number is in the file's own unit (bytes, µs, …). */
export type CgroupValue = number | bigint | string

// Not `instanceof`: an error of node:fs belongs to the main realm, also where this code runs in a vm context.
function isSystemError(error: unknown): error is NodeJS.ErrnoException & { errno: number } {
  return typeof error === 'object' && error !== null && 'errno' in error && typeof error.errno === 'number'
}

/** The errno's name: libuv calls EOPNOTSUPP 'ENOTSUP'. */
export function codeOf(error: unknown): string | undefined {
  if (isSystemError(error) && error.errno !== 0) return errnoName(Math.abs(error.errno))
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
  const path = details.path ?? error.path
  return new KernelError({
    errno,
    syscall: error.syscall ?? 'open',
    cause: error,
    ...details,
    path: path === undefined ? undefined : realPath(path),
    hint: details.hint ?? hints[code] ?? usual[code],
  })
}

/** An error of ours that the kernel would give, or has given elsewhere. */
export function failure(errno: string, syscall: string, path: string, hint: string): KernelError {
  return new KernelError({ errno: errnoNumber(errno) ?? 0, syscall, path, hint })
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
    throw kernelError(error, {
      path: `${path}/${file}`,
      hint: await readHint(path, file, codeOf(error)),
    })
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
    throw kernelError(error, {
      path: `${path}/${file}`,
      hint: await writeHint(path, file, value, codeOf(error)),
    })
  }
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
