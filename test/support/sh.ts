import { spawnSync } from 'node:child_process'

/** What a shell command prints, without the last newline; throws with its stderr if it fails. */
export function sh(command: string, env: NodeJS.ProcessEnv = process.env): string {
  const { status, signal, stdout, stderr, error } = spawnSync('sh', ['-c', command], {
    encoding: 'utf8',
    env,
  })
  if (error) throw error
  if (status !== 0) throw new Error(`${command}: ${signal ?? `exit ${String(status)}`}\n${stderr}`)
  return stdout.trimEnd()
}
