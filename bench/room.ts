// Where a section runs: a process with a heap of its own, in a pid namespace, where nothing outlives it and its processes
// are all that /proc lists, and in a mount namespace.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { statfsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Row } from './measure.ts'

const CGROUP2_SUPER_MAGIC = 0x6367_7270

/** Its own /run: container engines keep their notes there. One cgroup hierarchy: crun refuses to run where there are both. */
function furnish(): string {
  const lines = ['mount -t tmpfs none /run']
  if (statfsSync('/sys/fs/cgroup').type !== CGROUP2_SUPER_MAGIC)
    lines.push('mount -t cgroup2 none /sys/fs/cgroup')
  return [...lines, 'exec "$0" "$@"'].join('\n')
}

export async function inRoom(name: string, quick: boolean): Promise<Row[]> {
  const user = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user', '--cgroup']
  const unshare = ['--pid', '--fork', '--kill-child', '--mount', '--mount-proc', ...user]
  const section = fork(
    fileURLToPath(new URL('section.js', import.meta.url)),
    [name, ...(quick ? ['quick'] : [])],
    {
      execPath: 'unshare',
      execArgv: [...unshare, 'sh', '-c', furnish(), process.execPath, '--expose-gc'],
      // JSON has no NaN.
      serialization: 'advanced',
    },
  )
  const rows: Row[] = []
  section.on('message', (message) => rows.push(...(message as Row[])))
  const [code, signal] = (await once(section, 'exit')) as [number | null, string | null]
  if (code !== 0) throw new Error(`the section ${name} ended with ${String(code ?? signal)}`)
  return rows
}
