// Launch to exit of an isolated static program: six namespaces, a root of its own, a fresh procfs.
// fancyproc, bwrap and a C program that makes the same calls take turns, so that each is measured in the same weather.
import { execFileSync, spawn as nodeSpawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type Namespace, spawn } from 'fancyproc'
import { chdir, mount, pivotRoot, umount2 } from 'fancyproc/steps'

const namespaces: Namespace[] = ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup']
const source = fileURLToPath(new URL('../../bench', import.meta.url))

export interface Launcher {
  name: string
  /** Nanoseconds from launch to exit. */
  launch: () => Promise<number>
  close?: () => void
}

function compile(file: string, out: string, flags: string[]): void {
  execFileSync('cc', ['-O2', ...flags, '-o', out, join(source, file)], { stdio: 'inherit' })
}

async function timed(launch: () => Promise<{ code: number | null }>): Promise<number> {
  const start = process.hrtime.bigint()
  const { code } = await launch()
  if (code !== 0) throw new Error(`exited with ${String(code)}`)
  return Number(process.hrtime.bigint() - start)
}

function fancyproc(root: string): Launcher {
  const steps = [
    mount({ target: '/', flags: ['MS_REC', 'MS_PRIVATE'] }),
    mount({ source: root, target: root, flags: ['MS_BIND', 'MS_REC'] }),
    chdir(root),
    mount({ source: 'proc', target: 'proc', type: 'proc', flags: ['MS_NOSUID', 'MS_NODEV', 'MS_NOEXEC'] }),
    pivotRoot('.', '.'),
    umount2('.', 'MNT_DETACH'),
    chdir('/'),
  ]
  return {
    name: 'fancyproc',
    launch: () => timed(() => spawn('/true', [], { namespaces, steps, stdio: 'ignore', env: {} }).exited),
  }
}

function fromNode(name: string, file: string, args: string[]): Launcher {
  const launch = async (): Promise<{ code: number | null }> => {
    const [code] = (await once(nodeSpawn(file, args, { stdio: 'ignore' }), 'exit')) as [number | null]
    return { code }
  }
  return { name, launch: () => timed(launch) }
}

function limit(program: string, root: string): Launcher {
  const child = nodeSpawn(program, [root, '/true'], { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  return {
    name: 'C, same calls',
    launch: async () => {
      child.stdin.write('x')
      const line = await lines.next()
      if (line.done) throw new Error('the limit program ended')
      return Number(line.value)
    },
    close: () => {
      child.stdin.end()
    },
  }
}

/** Everything to compare, in a directory of its own that `remove` takes away. */
export function launchers(): { launchers: Launcher[]; remove: () => void } {
  const directory = mkdtempSync(join(tmpdir(), 'fancyproc-bench-'))
  const root = join(directory, 'root')
  mkdirSync(join(root, 'proc'), { recursive: true })
  compile('true.c', join(directory, 'true'), ['-static', '-nostdlib'])
  copyFileSync(join(directory, 'true'), join(root, 'true'))
  compile('limit.c', join(directory, 'limit'), [])
  const all = [
    fancyproc(root),
    limit(join(directory, 'limit'), root),
    fromNode('child_process, no isolation', join(root, 'true'), []),
  ]
  if (existsSync('/usr/bin/bwrap')) {
    const args = ['--unshare-all', '--bind', root, '/', '--proc', '/proc', '/true']
    all.push(fromNode('bwrap --unshare-all', '/usr/bin/bwrap', args))
  }
  const remove = (): void => {
    for (const { close } of all) close?.()
    rmSync(directory, { recursive: true })
  }
  return { launchers: all, remove }
}
