// The owner of one detached process: it holds and reads its terminal, writes the log, waits, and keeps the exit status.
// It is what containerd-shim and conmon are. Nothing else depends on it: the engine may go.
import { closeSync, writeSync } from 'node:fs'
import { Log } from './log.ts'
import { own } from './owner.ts'
import { exitCodeOf } from './refusal.ts'
import { directory, load } from './state.ts'

/** Where the engine waits to hear whether it runs. */
const ENGINE = 3

export interface Report {
  notes: string[]
  error?: string
  exitCode?: number
}

function report(what: Report): void {
  writeSync(ENGINE, JSON.stringify(what))
  closeSync(ENGINE)
}

const container = load(process.argv[2] ?? '')
const log = new Log(directory(container))
process.title = `shim ${container.id.slice(0, 12)}`
process.chdir('/')

try {
  const input = container.interactive ? 'pipe' : 'ignore'
  const stdio = container.tty ? 'pty' : ([input, 'pipe', 'pipe'] as const)
  const { ended } = await own(
    container,
    { stdio, ...(container.tty && { pty: { columns: 80, rows: 24 } }), attached: false },
    (child) => {
      // Always, as a program stops that nobody reads.
      for (const stream of [child.pty, child.stdout, child.stderr]) {
        stream?.on('data', (chunk: Buffer) => {
          log.write(chunk)
        })
      }
    },
  )
  report({ notes: container.notes })
  await ended
} catch (error) {
  report({ notes: container.notes, error: (error as Error).message, exitCode: exitCodeOf(error) })
}
