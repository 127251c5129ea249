// loaded.ts BYTES ROOT: a Node with so many resident bytes more, which launches when it is asked to, and measures itself.
import { fork, spawn as nodeSpawn, type ChildProcess, type StdioOptions } from 'node:child_process'
import { once } from 'node:events'
import { Socket } from 'node:net'
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { spawn, type SpawnOptions } from 'fancyproc'
import { native } from '../lib/native.ts'
import { fromNode } from './peers.ts'
import { enter, isolated, ours, program } from './programs.ts'

interface Launched {
  ended: Promise<unknown>
}

const file = program('true')

const fancy = (stdio: 'pipe' | 'ignore') => (): Launched => {
  const child = spawn(file, [], { stdio, env: {} })
  return { ended: stdio === 'pipe' ? once(child, 'close') : child.exited }
}

const nodes = (stdio: StdioOptions) => (): Launched => ({
  ended: once(nodeSpawn(file, [], { stdio, env: {} }), stdio === 'pipe' ? 'close' : 'exit'),
})

/** Three pipes as streams, and no process: what no launch with pipes can do without. */
function sockets(): Launched {
  const others: number[] = []
  const streams = [0, 1, 2].map((target) => {
    const ends = new Int32Array(2)
    if (native().pipe(ends) < 0) throw new Error('pipe')
    const [readable = -1, writable = -1] = ends
    others.push(target === 0 ? readable : writable)
    const fd = target === 0 ? writable : readable
    return new Socket({ fd, readable: target !== 0, writable: target === 0 })
  })
  return { ended: finish(streams, others) }
}

async function finish(streams: Socket[], others: number[]): Promise<void> {
  await delay(1)
  const closed = streams.map((stream) => once(stream, 'close'))
  for (const stream of streams) stream.destroy()
  for (const fd of others) native().close(fd)
  await Promise.all(closed)
}

/** Milliseconds until the call returns; the rest is waited for. */
async function held(launch: () => Launched): Promise<number> {
  const start = performance.now()
  const { ended } = launch()
  const time = performance.now() - start
  await ended
  return time
}

/** The longest hold of the loop in the time of some launches. The histogram's timer itself is of a millisecond. */
async function longest(launch: () => Launched): Promise<number> {
  const histogram = monitorEventLoopDelay({ resolution: 1 })
  histogram.enable()
  await delay(2)
  for (let i = 0; i < 3; i++) {
    await launch().ended
    await delay(2)
  }
  histogram.disable()
  return histogram.max / 1e6
}

/** How long the loop was busy, per launch: the call, its events, and what its promises do. */
async function busy(launch: () => Launched): Promise<number> {
  const before = performance.eventLoopUtilization()
  for (let i = 0; i < 5; i++) await launch().ended
  return performance.eventLoopUtilization(before).active / 5
}

const isolatedOptions = (root: string): SpawnOptions => ({ ...isolated, steps: [enter(root)] })

const measurements = {
  launch: (root: string) => ours(isolatedOptions(root)),
  launchNode: () => fromNode(file, []),
  held: () => held(fancy('ignore')),
  heldNode: () => held(nodes('ignore')),
  piped: () => held(fancy('pipe')),
  pipedNode: () => held(nodes('pipe')),
  sockets: () => held(sockets),
  longest: () => longest(fancy('ignore')),
  longestNode: () => longest(nodes('ignore')),
  busy: () => busy(fancy('ignore')),
  busyNode: () => busy(nodes('ignore')),
} satisfies Record<string, (root: string) => Promise<number>>

export type Measurement = keyof typeof measurements

/** The other side of this process. */
export class Loaded implements Disposable {
  readonly #child: ChildProcess
  readonly #ready: Promise<number>

  constructor(bytes: number, root: string) {
    this.#child = fork(fileURLToPath(import.meta.url), ['loaded', String(bytes), root])
    this.#ready = this.#answer()
  }

  /** What it says next. */
  #answer(): Promise<number> {
    return new Promise((resolve, reject) => {
      const ended = (): void => {
        reject(new Error('the loaded Node has ended'))
      }
      this.#child.once('exit', ended).once('message', (value) => {
        this.#child.off('exit', ended)
        resolve(value as number)
      })
    })
  }

  /** Its resident bytes, once it has them. */
  resident(): Promise<number> {
    return this.#ready
  }

  async ask(measurement: Measurement): Promise<number> {
    await this.#ready
    this.#child.send(measurement)
    return this.#answer()
  }

  [Symbol.dispose](): void {
    this.#child.removeAllListeners('exit').disconnect()
  }
}

async function serve(bytes: number, root: string): Promise<void> {
  const ballast: Buffer[] = []
  for (let left = bytes; left > 0; left -= 2 ** 28) ballast.push(Buffer.alloc(Math.min(left, 2 ** 28), 1))
  // What is measured is code that has run before.
  for (let i = 0; i < 100; i++) for (const launch of [fancy('ignore'), fancy('pipe')]) await launch().ended
  process.on('message', (name: Measurement) => {
    void measurements[name](root).then((value) => process.send?.(value))
  })
  process.send?.(process.memoryUsage().rss)
  process.once('disconnect', () => {
    ballast.length = 0
    process.exit()
  })
}

const [mode, bytes, root = ''] = process.argv.slice(2)
if (mode === 'loaded') await serve(Number(bytes), root)
