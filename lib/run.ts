import type { Readable } from 'node:stream'
import { invalid, outOfRange, show } from './errors.ts'
import type { Exit, Reason } from './exit.ts'
import type { SpawnOptions } from './options.ts'
import type { Process } from './process.ts'
import { spawn } from './spawn.ts'

export interface RunOptions extends SpawnOptions {
  /** Written to its standard input, which is closed then. Without it there is none: /dev/null. */
  input?: string | Uint8Array
  /** Bytes of stdout, and of stderr, above which it is killed. Default: 1 MiB, as in `child_process.execFile`. */
  maxBuffer?: number
  /** Default: 'utf8'; 'buffer' gives Buffers. */
  encoding?: BufferEncoding | 'buffer'
}

export interface RunResult<T = string> extends Exit {
  stdout: T
  stderr: T
}

const DEFAULT_MAX_BUFFER = 1 << 20

/** Reads a stream to its end, or kills at the limit. What has been read is in `chunks`, whatever becomes of it. */
function collect(
  child: Process,
  stream: Readable | null | undefined,
  { chunks, name }: Output,
  maxBuffer: number,
): Promise<void> {
  let length = 0
  if (!stream) return Promise.resolve()
  return new Promise((resolve, reject) => {
    stream.on('data', (chunk: Buffer) => {
      const room = maxBuffer - length
      length += chunk.length
      if (room > 0) chunks.push(chunk.subarray(0, room))
      if (chunk.length <= room) return
      stream.destroy()
      try {
        child.kill('SIGKILL')
      } catch {
        // It has become somebody else's, and will find its output closed.
      }
      const error = outOfRange(name, `more than maxBuffer, ${String(maxBuffer)} bytes`)
      reject(Object.assign(error, { code: 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER' }))
    })
    stream.on('error', reject)
    stream.on('close', resolve)
  })
}

interface Output {
  name: string
  chunks: Buffer[]
}

const givenUp: readonly Reason[] = ['timeout', 'aborted', 'cancelled']

function destroyStreams({ stdio, pty }: Process): void {
  for (const stream of [...stdio, pty]) stream?.destroy()
}

/** One that steps open is there once the program runs, or never. */
async function terminal(child: Process): Promise<Readable | undefined> {
  if (child.pty) return child.pty
  await child.spawned.catch(() => undefined)
  return child.pty
}

/**
 * `long clone3(struct clone_args *args, size_t size)`, the steps, `int execve(…)`: as `spawn`, collecting what it prints.
 * Resolves with that and with how it ended, whatever its exit code; rejects when its setup failed, or it printed more than
 * `maxBuffer` bytes (ERR_CHILD_PROCESS_STDIO_MAXBUFFER): that error has `stdout` and `stderr` up to there.
 *
 * Acts on: the child. Needs what `spawn` does.
 *
 * Errnos: as for `spawn`.
 *
 * Since Linux 5.10. See `man 2 clone3`, `man 2 execve`.
 */
export function run(
  file: string,
  args: readonly string[],
  options: RunOptions & { encoding: 'buffer' },
): Promise<RunResult<Buffer>>
export function run(file: string, args?: readonly string[], options?: RunOptions): Promise<RunResult>
export async function run(
  file: string,
  args: readonly string[] = [],
  options: RunOptions = {},
): Promise<RunResult<string | Buffer>> {
  if (!Array.isArray(args)) throw invalid('args', `expected an array of strings, got ${show(args)}`)
  if (typeof options !== 'object' || (options as unknown) === null) {
    throw invalid('options', `expected an object, got ${show(options)}`)
  }
  const { input, maxBuffer = DEFAULT_MAX_BUFFER, encoding = 'utf8', ...rest } = options
  if (!(typeof maxBuffer === 'number' && maxBuffer >= 0)) {
    throw outOfRange('maxBuffer', `expected a number of bytes, got ${show(maxBuffer)}`)
  }
  if (encoding !== 'buffer' && !Buffer.isEncoding(encoding))
    throw invalid('encoding', `no encoding: ${show(encoding)}`)
  if (input !== undefined && typeof input !== 'string' && !(input instanceof Uint8Array)) {
    throw invalid('input', `expected a string or bytes, got ${show(input)}`)
  }
  const stdio = rest.stdio ?? [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe']
  if (input !== undefined && (Array.isArray(stdio) ? (stdio[0] ?? 'pipe') : stdio) !== 'pipe') {
    throw invalid('input', 'stdio has no pipe for it at 0')
  }
  const child = spawn(file, args, { ...rest, stdio })
  if (input !== undefined && child.stdin) {
    // A program may end without having read it all.
    child.stdin.on('error', () => undefined)
    child.stdin.end(input)
  }
  const [stdout, stderr] = [output('stdout'), output('stderr')]
  const collected = Promise.all([
    stdio === 'pty'
      ? terminal(child).then((pty) => collect(child, pty, stdout, maxBuffer))
      : collect(child, child.stdout, stdout, maxBuffer),
    collect(child, child.stderr, stderr, maxBuffer),
  ])
  collected.catch(() => undefined)
  const text = ({ chunks }: Output): string | Buffer => {
    const bytes = Buffer.concat(chunks)
    return encoding === 'buffer' ? bytes : bytes.toString(encoding)
  }
  const exit = await child.exited
  // Who has been given up is not waited for: a child of his may hold the pipes.
  if (givenUp.includes(exit.reason)) setImmediate(destroyStreams, child)
  try {
    await collected
  } catch (error) {
    throw Object.assign(error as Error, { stdout: text(stdout), stderr: text(stderr) })
  } finally {
    destroyStreams(child)
  }
  return { ...exit, stdout: text(stdout), stderr: text(stderr) }
}

const output = (name: string): Output => ({ name, chunks: [] })
