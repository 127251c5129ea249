// Bytes a second out of a child: through a pipe, and through a terminal.
import { spawn as nodeSpawn } from 'node:child_process'
import { createRequire } from 'node:module'
import type { Readable } from 'node:stream'
import { spawn } from 'fancyproc'
import { compared, type Context, inTurns, missing, named, type Section, type Unnamed } from '../measure.ts'
import { which } from '../peers.ts'

const MB = 1e6
const bar = { bar: { least: 0.97 } }
const env = { PATH: process.env['PATH'] ?? '/usr/bin:/bin' }
const zeros = (megabytes: number): string[] => ['-c', String(megabytes * MB), '/dev/zero']

/** MB a second, read to the end. */
async function rate(start: () => Readable | null | undefined, megabytes: number): Promise<number> {
  const began = performance.now()
  let bytes = 0
  const stream = start()
  if (!stream) throw new Error('there is nothing to read from')
  for await (const chunk of stream as AsyncIterable<Buffer>) bytes += chunk.length
  if (bytes < megabytes * MB) throw new Error(`only ${bytes} bytes have come`)
  return megabytes / ((performance.now() - began) / 1e3)
}

export const streams: Section = async (context) =>
  named('streams', [...(await pipe(context)), ...(await terminal(context))])

async function pipe({ rounds, quick }: Context): Promise<Unnamed[]> {
  const megabytes = quick ? 100 : 1000
  const [args, stdio] = [zeros(megabytes), ['ignore', 'pipe', 'ignore'] as const]
  const times = await inTurns(
    rounds(15, 5),
    {
      ours: () => rate(() => spawn('head', args, { stdio, env }).stdout, megabytes),
      theirs: () => rate(() => nodeSpawn('head', args, { stdio: [...stdio], env }).stdout, megabytes),
    },
    1,
  )
  const what = `${quick ? '100 MB' : '1 GB'} from stdout`
  return [compared(what, 'MB/s', times.ours, 'child_process', times.theirs, bar)]
}

/** No dependency, so without its types: npm install --no-save node-pty. */
interface NodePty {
  spawn(
    file: string,
    args: string[],
    options: { encoding: null },
  ): {
    onData(listener: (data: Buffer) => void): void
    onExit(listener: (exit: { exitCode: number }) => void): void
  }
}

function nodePty(): NodePty | undefined {
  try {
    return createRequire(import.meta.url)('node-pty') as NodePty
  } catch {
    return undefined
  }
}

function throughNodePty(pty: NodePty, megabytes: number): Promise<number> {
  return new Promise((resolve) => {
    const began = performance.now()
    let bytes = 0
    const child = pty.spawn('head', zeros(megabytes), { encoding: null })
    child.onData((data) => (bytes += data.length))
    // It may lose what comes last: the rate is that of what has come.
    child.onExit(() => {
      resolve(bytes / MB / ((performance.now() - began) / 1e3))
    })
  })
}

async function terminal({ rounds, quick }: Context): Promise<Unnamed[]> {
  const megabytes = quick ? 10 : 100
  const [pty, script] = [nodePty(), which('script')]
  const throughScript = ['-qec', `head ${zeros(megabytes).join(' ')}`, '/dev/null']
  const times = await inTurns<string>(
    rounds(10, 5),
    {
      ours: () => rate(() => spawn('head', zeros(megabytes), { stdio: 'pty', env }).pty, megabytes),
      ...(script === undefined
        ? {}
        : {
            script: () =>
              rate(
                () => nodeSpawn(script, throughScript, { stdio: ['ignore', 'pipe', 'ignore'] }).stdout,
                megabytes,
              ),
          }),
      ...(pty ? { pty: () => throughNodePty(pty, megabytes) } : {}),
    },
    1,
  )
  const what = `${megabytes} MB through a pty`
  const ours = times['ours'] ?? []
  return [
    pty
      ? compared(what, 'MB/s', ours, 'node-pty', times['pty'] ?? [], bar)
      : missing(what, 'node-pty is not installed'),
    script === undefined
      ? missing(what, 'script is not installed')
      : compared(what, 'MB/s', ours, 'script(1)', times['script'] ?? [], pty ? {} : bar),
  ]
}
