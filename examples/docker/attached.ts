// `run` without -d: this process owns the program, and lends it its terminal.
import { isatty } from 'node:tty'
import { type Process, run, type Signal, type Stdio } from 'fancyproc'
import { own } from './owner.ts'
import { Refusal } from './refusal.ts'
import type { Container } from './state.ts'

export async function runAttached(container: Container): Promise<number> {
  const { tty, interactive } = container
  if (tty && interactive && !isatty(0)) throw new Refusal('the input device is not a TTY')
  const stdio: Stdio = tty ? 'pty' : [interactive ? 'inherit' : 'ignore', 'inherit', 'inherit']
  let takeBack = (): Promise<void> => Promise.resolve()
  const how = { stdio, ...(tty && { pty: windowSize() }), attached: true }
  const { ended } = await own(container, how, (child) => {
    takeBack = lend(child, tty, interactive)
  })
  try {
    return await ended
  } finally {
    await takeBack()
  }
}

/** Our signals and our terminal, from the moment it runs until they are taken back. */
export function lend(child: Process, tty: boolean, interactive: boolean): () => Promise<void> {
  let [stopPassing, takeBack] = [(): void => undefined, Promise.resolve((): void => undefined)]
  const begin = (): void => {
    stopPassing = passSignals(child)
    if (tty) takeBack = lendTerminal(child, interactive)
  }
  if (child.pid === undefined) child.once('spawn', begin)
  else begin()
  return async () => {
    stopPassing()
    ;(await takeBack)()
  }
}

export function windowSize(): { columns: number; rows: number } {
  // Zero is how a terminal says that it doesn't know.
  return { columns: process.stdout.columns || 80, rows: process.stdout.rows || 24 }
}

/** The first is for the program; a second Ctrl-C ends it, as a first process ignores what it doesn't handle. */
function passSignals(child: Process): () => void {
  let interrupted = false
  const pass = (signal: NodeJS.Signals): void => {
    const wanted: Signal = signal === 'SIGINT' && interrupted ? 'SIGKILL' : signal
    interrupted ||= signal === 'SIGINT'
    child.kill(wanted)
  }
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const
  for (const signal of signals) process.on(signal, pass)
  return () => {
    for (const signal of signals) process.off(signal, pass)
  }
}

/** What the program prints goes to our terminal, what is typed there to the program, and its size is that of ours. */
async function lendTerminal(child: Process, interactive: boolean): Promise<() => void> {
  const { pty } = child
  if (!pty) return () => undefined
  const { stdin, stdout } = process
  // What it prints meanwhile waits.
  pty.pause()
  const cook = interactive ? await rawMode() : undefined
  pty.pipe(stdout, { end: false })
  if (interactive) stdin.pipe(pty)
  // Whoever read us has gone (`| head`). What is still in the pty has to be read, or it would not end.
  stdout.on('error', () => {
    pty.unpipe(stdout).resume()
    child.kill('SIGKILL')
  })
  const resize = (): void => {
    const { columns, rows } = windowSize()
    pty.resize(columns, rows)
  }
  stdout.on('resize', resize)
  return () => {
    stdout.off('resize', resize)
    if (interactive) stdin.unpipe(pty)
    cook?.()
  }
}

/** Ctrl-C is then a character like others: it goes through the pty, and it is the pty that makes a signal of it. */
async function rawMode(): Promise<() => void> {
  process.stdin.setRawMode(true)
  // Node leaves the output processed; but the pty has done that, and a program may have switched it off there.
  await run('stty', ['-opost'], { stdio: ['inherit', 'ignore', 'ignore'] }).catch(() => undefined)
  return () => {
    process.stdin.setRawMode(false)
    // Reading it would keep us alive.
    process.stdin.destroy()
  }
}
