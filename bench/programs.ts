// The programs that are launched, and a root for them.
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Namespace, spawn, type SpawnOptions, type Steps } from 'fancyproc'
import { bind, chdir, makePrivate, mount, pivotRoot, umount2 } from 'fancyproc/steps'

const project = fileURLToPath(new URL('../..', import.meta.url))
/** They are kept beside what is built, so that a machine without a compiler can have them, too. */
const built = join(project, 'dist/bench/programs')

const programs = {
  true: ['-static', '-nostdlib', 'true.c'],
  hop: ['-static', '-nostdlib', 'hop.c'],
  pause: ['-static', '-nostdlib', 'pause.c'],
  stamp: ['-static', 'stamp.c'],
  crowd: ['-static', 'crowd.c'],
  limit: ['-pthread', 'limit.c', '../../native/clone3.S'],
} as const

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

/** A directory with the programs, made to be a root, until it is disposed of. crun wants a /dev, systemd-nspawn a /usr. */
export function makeRoot(binds = 0): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'fancyproc-bench-'))
  for (const directory of ['proc', 'dev', 'source', 'usr']) mkdirSync(join(path, directory))
  for (let i = 0; i < binds; i++) mkdirSync(join(path, 'b', String(i)), { recursive: true })
  for (const name of ['true', 'hop', 'pause', 'stamp'] as const) cpSync(program(name), join(path, name))
  return {
    path,
    [Symbol.dispose]: () => {
      rmSync(path, { recursive: true })
    },
  }
}

/** Launch to exit, in milliseconds. */
export async function ours(options: SpawnOptions, file = '/true'): Promise<number> {
  const start = performance.now()
  const { code } = await spawn(file, [], options).exited
  if (code !== 0) throw new Error(`${file} exited with ${String(code)}`)
  return performance.now() - start
}
