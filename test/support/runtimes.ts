// Processes that other tools have isolated, each in a mount namespace of its own so that nothing of it stays behind.
import { spawnSync } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Process, spawn } from 'fancyproc'
import { makePrivate, mapUser } from 'fancyproc/steps'
import { facts, type Machine, on } from './machine.ts'
import { children, status } from './proc.ts'

interface Runtime {
  name: string
  machine: Machine
  /** In an empty directory. */
  command: (directory: string) => [file: string, ...args: string[]]
  remove?: (directory: string) => void
}

const runtimes: Runtime[] = [
  {
    name: 'unshare',
    machine: { userns: true, tools: 'unshare' },
    command: () => [
      'unshare',
      ...['--map-root-user', '--mount', '--pid', '--fork', '--net', '--ipc', '--uts', '--cgroup'],
      ...['sleep', '1000'],
    ],
  },
  {
    name: 'bwrap',
    machine: { userns: true, tools: 'bwrap' },
    command: () => ['bwrap', '--unshare-all', '--ro-bind', '/', '/', 'sleep', '1000'],
  },
  {
    name: 'runc',
    machine: { user: 'root', tools: 'runc', lsm: ['none', 'apparmor'] },
    command: (directory) => {
      const linked = ['/usr', '/bin', '/lib', '/lib64']
      const config = {
        ociVersion: '1.0.0',
        root: { path: 'root' },
        process: { user: { uid: 0, gid: 0 }, cwd: '/', args: ['/bin/sleep', '1000'] },
        mounts: [
          { destination: '/proc', type: 'proc', source: 'proc' },
          ...linked.map((path) => ({
            destination: path,
            source: path,
            type: 'bind',
            options: ['rbind', 'ro'],
          })),
        ],
        linux: { namespaces: ['pid', 'mount', 'network', 'ipc', 'uts'].map((type) => ({ type })) },
      }
      mkdirSync(join(directory, 'root'))
      writeFileSync(join(directory, 'config.json'), JSON.stringify(config))
      return ['runc', '--root', join(directory, 'state'), 'run', '--bundle', directory, id]
    },
    remove: (directory) => {
      spawnSync('runc', ['--root', join(directory, 'state'), 'delete', '--force', id])
    },
  },
  {
    name: 'systemd-nspawn',
    machine: { user: 'root', tools: 'systemd-nspawn', cgroup: ['v2', 'hybrid'], lsm: ['none', 'apparmor'] },
    command: (directory) => {
      for (const name of ['usr', 'etc', 'proc', 'sys', 'dev', 'run', 'tmp']) mkdirSync(join(directory, name))
      for (const name of ['bin', 'lib', 'lib64', 'sbin']) symlinkSync(`usr/${name}`, join(directory, name))
      writeFileSync(join(directory, 'etc/os-release'), '')
      const options = [
        '--quiet',
        '--register=no',
        '--keep-unit',
        '--pipe',
        '--bind-ro=/usr',
        '--private-network',
      ]
      return ['systemd-nspawn', ...options, `--directory=${directory}`, '/bin/sleep', '1000']
    },
  },
]

const id = `fancyproc-test-${String(process.pid)}`

/** The `sleep` that it has started, once it is that. */
async function sleeping(child: Process): Promise<number> {
  for (;;) {
    const found = descendants(child.pid ?? 0).find((pid) => name(pid) === 'sleep')
    if (found !== undefined) return found
    if (child.exitCode !== null) throw new Error(`${child.spawnfile} exited with ${String(child.exitCode)}`)
    await sleep(5)
  }
}

function name(pid: number): string | undefined {
  try {
    return status(pid, 'Name')
  } catch {
    return undefined
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function descendants(pid: number): number[] {
  return pid === 0 ? [] : [pid, ...children(pid).flatMap(descendants)]
}

/** A test for each of them, with the pid of a process in there. */
export function onRuntimes(
  path: (name: string) => string,
  body: (pid: number, child: Process) => Promise<void>,
): void {
  for (const { name, machine, command, remove } of runtimes) {
    on(machine).test(`that ${name} has started`, async () => {
      const directory = path(name)
      mkdirSync(directory)
      const [file, ...args] = command(directory)
      const root = facts.user === 'root'
      const child = spawn(file, args, {
        namespaces: root ? ['mnt'] : ['user', 'mnt'],
        steps: [root ? [] : mapUser(), makePrivate('/', { recursive: true })],
        stdio: 'ignore',
      })
      try {
        await child.spawned
        await body(await sleeping(child), child)
      } finally {
        const all = descendants(child.pid ?? 0)
        remove?.(directory)
        await child[Symbol.asyncDispose]()
        // Not all of them end with what has started them.
        for (const pid of all) kill(pid)
      }
    })
  }
}
