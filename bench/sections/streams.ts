// Bytes a second out of a child: through a pipe, and through a terminal.
import { spawn as nodeSpawn } from 'node:child_process'
import type { Readable } from 'node:stream'
import { spawn } from 'fancyproc'
import { compared, inTurns, named, type Section } from '../measure.ts'
import { has } from '../programs.ts'

const MB = 1e6

/** MB a second, read to the end. */
async function drained(stream: Readable | null | undefined, start: number): Promise<number> {
  let bytes = 0
  if (!stream) throw new Error('there is nothing to read from')
  for await (const chunk of stream as AsyncIterable<Buffer>) bytes += chunk.length
  return bytes / MB / ((performance.now() - start) / 1e3)
}

const env = { PATH: process.env['PATH'] ?? '/usr/bin:/bin' }

export const streams: Section = async ({ rounds, quick }) => {
  const piped = ['-c', String((quick ? 100 : 1000) * MB), '/dev/zero']
  const pipe = await inTurns(
    rounds(7, 3),
    {
      ours: () => {
        const start = performance.now()
        return drained(spawn('head', piped, { stdio: ['ignore', 'pipe', 'ignore'], env }).stdout, start)
      },
      theirs: () => {
        const start = performance.now()
        return drained(nodeSpawn('head', piped, { stdio: ['ignore', 'pipe', 'ignore'], env }).stdout, start)
      },
    },
    1,
  )
  const rows = [
    compared(`${quick ? '100 MB' : '1 GB'} from stdout`, 'MB/s', pipe.ours, 'child_process', pipe.theirs, {
      bar: { least: 0.97 },
    }),
  ]
  if (has('script')) {
    const size = quick ? 10 : 100
    const shown = ['-c', String(size * MB), '/dev/zero']
    const pty = await inTurns(
      rounds(7, 3),
      {
        ours: () => {
          const start = performance.now()
          return drained(spawn('head', shown, { stdio: 'pty', env }).pty, start)
        },
        theirs: () => {
          const start = performance.now()
          const args = ['-qec', `head ${shown.join(' ')}`, '/dev/null']
          return drained(nodeSpawn('script', args, { stdio: ['ignore', 'pipe', 'ignore'] }).stdout, start)
        },
      },
      1,
    )
    rows.push(
      compared(`${String(size)} MB through a pty`, 'MB/s', pty.ours, 'script(1)', pty.theirs, {
        bar: { least: 0.97 },
      }),
    )
  }
  return named('streams', rows)
}
