// Node as a process of its own, for what cannot be tried in the one that runs the tests.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { patient } from './machine.ts'

export const root = fileURLToPath(new URL('../..', import.meta.url))

export interface Forked {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

/** Only so that a bug cannot hang the suite. */
const PATIENCE = patient(25_000)

/** A command in the checkout, where `fancyproc` is this package. */
export function command(file: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Forked> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: PATIENCE,
      killSignal: 'SIGKILL',
    })
    let [stdout, stderr] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.on('error', reject)
    child.on('close', (code, signal) => {
      resolve({ code, signal, stdout, stderr })
    })
  })
}

/** Node's arguments for a module given as text. */
export function script(text: string): string[] {
  return ['--input-type=module', '-e', text]
}

export function fork(text: string, env: NodeJS.ProcessEnv = {}): Promise<Forked> {
  return command(process.execPath, script(text), env)
}
