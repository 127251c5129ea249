// The programs that are launched, a root for them, and the C program that shows the limit.
import { execFileSync, spawn as nodeSpawn, type ChildProcessByStdio } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { type Namespace, spawn, type SpawnOptions, type Steps } from 'fancyproc'
import { bind, chdir, makePrivate, mount, pivotRoot, umount2 } from 'fancyproc/steps'

const project = fileURLToPath(new URL('../..', import.meta.url))
/** They are kept beside what is built, so that a machine without a compiler can have them, too. */
const built = join(project, 'dist/bench/programs')

const programs: Readonly<Record<string, string[]>> = {
  true: ['-static', '-nostdlib', 'true.c'],
  pause: ['-static', '-nostdlib', 'pause.c'],
  stamp: ['-static', 'stamp.c'],
  crowd: ['-static', 'crowd.c'],
  limit: ['-pthread', 'limit.c', '../../native/clone3.S'],
}

function isStale(program: string, sources: string[]): boolean {
  if (!existsSync(program)) return true
  return sources.some((source) => statSync(source).mtimeMs > statSync(program).mtimeMs)
}

export function compile(): void {
  const sources = join(project, 'bench/programs')
  mkdirSync(built, { recursive: true })
  for (const [name, options] of Object.entries(programs)) {
    const files = options.filter((option) => !option.startsWith('-')).map((file) => join(sources, file))
    if (!isStale(join(built, name), files)) continue
    execFileSync('cc', ['-O2', '-o', join(built, name), ...options], { cwd: sources, stdio: 'inherit' })
  }
}

/** Where one of them is. */
export const program = (name: keyof typeof programs): string => join(built, name)

export const namespaces: Namespace[] = ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup']

export const isolated = { namespaces, stdio: 'ignore', env: {} } satisfies SpawnOptions

/** What `limit.c` does, as steps. */
export function enter(root: string, binds = 0): Steps {
  return [
    makePrivate('/', { recursive: true }),
    bind(root, root, { recursive: true }),
    chdir(root),
    Array.from({ length: binds }, (_, i) => bind('source', `b/${String(i)}`)),
    mount({ source: 'proc', target: 'proc', type: 'proc', flags: ['MS_NOSUID', 'MS_NODEV', 'MS_NOEXEC'] }),
    pivotRoot('.', '.'),
    umount2('.', 'MNT_DETACH'),
    chdir('/'),
  ]
}

/** A directory with the programs, made to be a root, until it is disposed of. */
export function makeRoot(binds = 0): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'fancyproc-bench-'))
  for (const directory of ['proc', 'source']) mkdirSync(join(path, directory))
  for (let i = 0; i < binds; i++) mkdirSync(join(path, 'b', String(i)), { recursive: true })
  for (const name of ['true', 'pause', 'stamp']) cpSync(join(built, name), join(path, name))
  return {
    path,
    [Symbol.dispose]: () => {
      rmSync(path, { recursive: true })
    },
  }
}

export interface Timed {
  /** Milliseconds. */
  wall: number
  cpu: number
}

/** The C program. */
export class Limit implements Disposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #lines: AsyncIterator<string>

  constructor(root: string, options: string[] = [], program = '/true') {
    this.#child = nodeSpawn(join(built, 'limit'), [...options, root, program], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]()
  }

  async #ask(line: string): Promise<Timed> {
    this.#child.stdin.write(`${line}\n`)
    const answer = await this.#lines.next()
    if (answer.done) throw new Error('the limit program ended')
    const [wall, cpu] = answer.value.split(' ').map(Number)
    return { wall: (wall ?? NaN) / 1e6, cpu: (cpu ?? NaN) / 1e3 }
  }

  launch(count = 1): Promise<Timed> {
    return this.#ask(String(count))
  }

  stand(count: number): Promise<Timed> {
    return this.#ask(`+${String(count)}`)
  }

  [Symbol.dispose](): void {
    this.#child.stdin.end()
  }
}

/** Launch to exit, in milliseconds. */
export async function ours(options: SpawnOptions, file = '/true'): Promise<number> {
  const start = performance.now()
  const { code } = await spawn(file, [], options).exited
  if (code !== 0) throw new Error(`${file} exited with ${String(code)}`)
  return performance.now() - start
}

export function fromNode(file: string, args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const start = performance.now()
    const child = nodeSpawn(file, args, { stdio: 'ignore' })
    child.on('error', reject)
    child.on('exit', (code) => {
      if (code === 0) resolve(performance.now() - start)
      else reject(new Error(`${file} ${args.join(' ')}: exited with ${String(code)}`))
    })
  })
}

export function has(program: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((directory) => existsSync(join(directory, program)))
}
