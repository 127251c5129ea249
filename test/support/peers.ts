// Processes that others have isolated: unshare, bwrap, runc, systemd-nspawn.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { patient } from './machine.ts'

export interface Peer {
  /** Of the innermost process. */
  pid: number
  end: () => Promise<void>
}

let count = 0

function find(cmdline: string): number | undefined {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (readFileSync(`/proc/${pid}/cmdline`, 'utf8') === cmdline) return Number(pid)
    } catch {
      // It has ended.
    }
  }
  return undefined
}

/** Runs a tool that runs `sleep`; that is the peer. */
async function peer(file: string, args: (sleep: string[]) => string[]): Promise<Peer> {
  const sleep = ['sleep', `${String(100_000 + process.pid)}.${String(count++)}`]
  const tool: ChildProcess = spawn(file, args(sleep), { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  tool.stderr?.setEncoding('utf8').on('data', (text: string) => (said += text))
  const ended = new Promise<void>((resolve) => tool.once('close', () => { resolve() })) // prettier-ignore
  const late = Date.now() + patient(15_000)
  let pid = find(`${sleep.join('\0')}\0`)
  while (pid === undefined) {
    if (tool.exitCode !== null || Date.now() > late) throw new Error(`${file}: ${said}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
    pid = find(`${sleep.join('\0')}\0`)
  }
  const end = async (): Promise<void> => {
    process.kill(pid, 'SIGKILL')
    await ended
  }
  return { pid, end }
}

export const byUnshare = (...flags: string[]): Promise<Peer> =>
  peer('unshare', (sleep) => [...flags, '--fork', '--kill-child', ...sleep])

export const byBwrap = (...flags: string[]): Promise<Peer> =>
  peer('bwrap', (sleep) => [
    '--unshare-all', '--ro-bind', '/', '/', '--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp', '--chdir', '/tmp',
    ...flags, ...sleep,
  ]) // prettier-ignore

export const byNspawn = (): Promise<Peer> =>
  peer('systemd-nspawn', (sleep) => [
    '--quiet', '--register=no', '--keep-unit', `--machine=fancyproc${String(process.pid)}`, '--directory=/',
    '--volatile=yes', '--private-network', '--as-pid2', ...sleep,
  ]) // prettier-ignore

/** `directory` is for its bundle and its state. */
export function byRunc(directory: string): Promise<Peer> {
  mkdirSync(`${directory}/rootfs`, { recursive: true })
  for (const name of ['usr', 'proc', 'dev', 'tmp']) mkdirSync(`${directory}/rootfs/${name}`)
  for (const name of ['bin', 'sbin', 'lib', 'lib64'])
    symlinkSync(`usr/${name}`, `${directory}/rootfs/${name}`)
  const capabilities = ['CAP_KILL', 'CAP_CHOWN', 'CAP_SETUID']
  const config = (args: string[]): object => ({
    ociVersion: '1.0.2',
    process: {
      user: { uid: 12, gid: 34, additionalGids: [56] },
      args,
      env: ['PATH=/usr/bin:/bin', 'INSIDE=runc'],
      cwd: '/usr',
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      noNewPrivileges: true,
    },
    root: { path: 'rootfs' },
    hostname: 'runc',
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs' },
      { destination: '/usr', type: 'bind', source: '/usr', options: ['rbind', 'ro'] },
    ],
    linux: { namespaces: ['pid', 'network', 'ipc', 'uts', 'mount'].map((type) => ({ type })) },
  })
  return peer('runc', (sleep) => {
    writeFileSync(`${directory}/config.json`, JSON.stringify(config(sleep)))
    return ['--root', `${directory}/state`, 'run', '--bundle', directory, `fancyproc${String(process.pid)}`]
  })
}
