import { spawnSync } from 'node:child_process'

// The sanitizer is for our addon in Node; under it ps(1) has stood still in a lock of libc's.
const plain = { ...process.env, LD_PRELOAD: undefined }

/** What a shell command prints, without the last newline; throws with its stderr if it fails. */
export function sh(command: string, env: NodeJS.ProcessEnv = plain): string {
  const { status, signal, stdout, stderr, error } = spawnSync('sh', ['-c', command], {
    encoding: 'utf8',
    env,
  })
  if (error) throw error
  if (status !== 0) throw new Error(`${command}: ${signal ?? `exit ${String(status)}`}\n${stderr}`)
  return stdout.trimEnd()
}
