// What users take now for the same: command lines of other tools, and child_process.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Launch to exit, in milliseconds. */
export function fromNode(file: string, args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const start = performance.now()
    const child = spawn(file, args, { stdio: 'ignore' })
    child.on('error', reject)
    child.on('exit', (code) => {
      if (code === 0) resolve(performance.now() - start)
      else reject(new Error(`${file} ${args.join(' ')}: exited with ${String(code)}`))
    })
  })
}

/** Where a program is. */
export function which(program: string): string | undefined {
  const directories = (process.env['PATH'] ?? '').split(':')
  return directories.map((directory) => join(directory, program)).find((file) => existsSync(file))
}

/** An OCI bundle without a terminal, made to do what the others do. */
function bundle(root: string): string {
  const directory = join(root, 'bundle')
  mkdirSync(directory)
  const config = {
    ociVersion: '1.0.2',
    process: { user: { uid: 0, gid: 0 }, args: ['/true'], cwd: '/', env: [] },
    root: { path: root },
    mounts: [{ destination: '/proc', type: 'proc', source: 'proc' }],
    linux: {
      namespaces: ['pid', 'network', 'ipc', 'uts', 'mount', 'cgroup'].map((type) => ({ type })),
    },
  }
  writeFileSync(join(directory, 'config.json'), JSON.stringify(config))
  return directory
}

export interface Peer {
  name: string
  /** Empty if it doesn't run here. */
  command: string[]
  /** Why it doesn't. */
  why?: string
}

/** Those that do run an isolated /true of this root. */
export function peers(root: string): Peer[] {
  const oci = [
    'run',
    '--bundle',
    bundle(root),
    `fancyproc-bench-${String(process.ppid)}-${String(process.pid)}`,
  ]
  const nspawn = [
    '--quiet',
    '--register=no',
    '--keep-unit',
    '--private-network',
    '--as-pid2',
    '-D',
    root,
    '/true',
  ]
  const all: [name: string, ...args: string[]][] = [
    ['unshare', '-mpniuC', '--fork', '--mount-proc=/proc', `--root=${root}`, '/true'],
    ['bwrap', '--unshare-all', '--bind', root, '/', '--proc', '/proc', '/true'],
    ['crun', ...oci],
    ['runc', ...oci],
    ['systemd-nspawn', ...nspawn],
  ]
  return all.map(([name, ...args]): Peer => {
    const file = which(name)
    if (file === undefined) return { name, command: [], why: 'it is not installed' }
    const { status, signal, stderr } = spawnSync(file, args, { encoding: 'utf8' })
    if (status === 0) return { name, command: [file, ...args] }
    const why = stderr.trim().split('\n').at(-1) ?? ''
    return { name, command: [], why: why.slice(0, 120) || `it ended with ${String(status ?? signal)}` }
  })
}
