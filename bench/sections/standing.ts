// With many sandboxes standing: what a launch takes, what each of them costs, how soon a death is known.
import { spawn as nodeSpawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type Process, spawn, type SpawnOptions } from 'fancyproc'
import { Limit } from '../limit.ts'
import {
  alone,
  compared,
  type Context,
  inTurns,
  milliseconds,
  missing,
  named,
  type Section,
  type Unnamed,
  until,
} from '../measure.ts'
import { enter, isolated, makeRoot, ours } from '../programs.ts'

/** Bytes of the kernel's own, in all. */
function kernelMemory(): number {
  const text = readFileSync('/proc/meminfo', 'utf8')
  return ['Slab', 'KernelStack', 'PageTables', 'Percpu'].reduce(
    (sum, name) => sum + Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(text)?.[1]),
    0,
  )
}

function resident(): number {
  for (let i = 0; i < 4; i++) globalThis.gc?.()
  return process.memoryUsage().rss / 1024
}

/** In the section's own pid namespace: ours, and nobody else's. */
const processes = (): number => readdirSync('/proc').filter((name) => /^\d+$/.test(name)).length
const descriptors = (): number => readdirSync('/proc/self/fd').length

/** Network namespaces are taken apart one after the other, long after their last process has ended. */
async function quiet(): Promise<void> {
  const alive = (): number => {
    try {
      return Number(/^net_namespace +(\d+)/m.exec(readFileSync('/proc/slabinfo', 'utf8'))?.[1] ?? 0)
    } catch {
      return 0
    }
  }
  let last = Infinity
  while (alive() < last) {
    last = alive()
    await delay(500)
  }
}

/** Milliseconds from the program's last act to `exit`. It writes the time into a file, which wakes nobody. */
async function notification(file: number, start: (file: number) => NodeJS.EventEmitter): Promise<number> {
  const child = start(file)
  let seen = 0n
  child.once('exit', () => (seen = process.hrtime.bigint()))
  await once(child, 'exit')
  const bytes = Buffer.alloc(8)
  readSync(file, bytes, 0, 8, 0)
  return Number(seen - bytes.readBigInt64LE()) / 1e6
}

async function stand(count: number, options: SpawnOptions, into: Process[]): Promise<void> {
  let left = count
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const child = spawn('/pause', [], options)
      await child.spawned
      into.push(child)
    }
  }
  await Promise.all(Array.from({ length: 8 }, worker))
}

async function ended(children: Process[]): Promise<void> {
  for (const child of children) child.kill('SIGKILL')
  await Promise.all(children.map((child) => child.exited))
  children.length = 0
}

/** What each of those costs that have come since. */
function costs(count: number, added: number, before: Record<'node' | 'kernel' | 'fds', number>): Unnamed[] {
  const each = (value: number, since: number): number[] => [(value - since) / added]
  return [
    alone(`Node's memory for each of ${count}`, 'KB', each(resident(), before.node), { bar: { most: 32 } }),
    alone(`the kernel's memory for each of ${count}`, 'KB', each(kernelMemory(), before.kernel)),
    alone(`Node's descriptors for each of ${count}`, 'fds', each(descriptors(), before.fds)),
  ]
}

export const standing: Section = async (context) => {
  const counts = context.quick ? [0, 100] : [0, 100, 1000, 5000]
  const most = Math.max(...counts)
  const namespaces = Number(readFileSync('/proc/sys/user/max_net_namespaces', 'utf8'))
  if (namespaces < most * 1.1)
    return named('standing', [missing('standing', `max_net_namespaces is ${namespaces}`)])
  const rows = await withOurs(context, counts)
  await quiet()
  rows.push(...(await withoutUs(context, most)))
  await quiet()
  return named('standing', rows)
}

async function withOurs({ rounds }: Context, counts: readonly number[]): Promise<Unnamed[]> {
  using root = makeRoot()
  const options = { ...isolated, steps: [enter(root.path)] }
  using limit = new Limit(root.path, '/true')
  const file = openSync(join(root.path, 'stamped'), 'w+')
  const stamp = join(root.path, 'stamp')
  const rows: Unnamed[] = []
  const children: Process[] = []
  const base: { ours?: number[]; limit?: number[] } = {}
  await milliseconds(() => stand(50, options, children).then(() => ended(children)))
  const others = processes()
  try {
    for (const count of counts) {
      const before = { node: resident(), kernel: kernelMemory(), fds: descriptors() }
      const added = count - children.length
      const time = await milliseconds(() => stand(added, options, children))
      if (added > 0) {
        await delay(500)
        rows.push(
          ...costs(count, added, before),
          alone(`further processes beside ${count}`, 'processes', [processes() - others - count], {
            bar: { most: 0 },
          }),
          alone(`starting ${added} of ${count}`, '/s', [(added / time) * 1e3]),
        )
      }
      const times = await inTurns(rounds(200, 30), {
        ours: () => ours(options),
        limit: limit.wall,
        notified: () =>
          notification(file, (fd) => spawn(stamp, [], { stdio: ['ignore', { fd }, 'ignore'], env: {} })),
        notifiedNode: () =>
          notification(file, (fd) => nodeSpawn(stamp, [], { stdio: ['ignore', fd, 'ignore'], env: {} })),
      })
      base.ours ??= times.ours
      base.limit ??= times.limit
      rows.push(
        compared(`launch to exit beside ${count}`, 'ms', times.ours, 'C, same calls', times.limit),
        ...(count === 0
          ? []
          : [
              compared(`launch to exit beside ${count}`, 'ms', times.ours, 'beside none', base.ours, {
                ...(count === 5000 ? { bar: { most: 1.5 } } : {}),
              }),
              compared(`C, same calls, beside ${count}`, 'ms', times.limit, 'beside none', base.limit),
            ]),
        compared(
          `death to exit event beside ${count}`,
          'ms',
          times.notified,
          'child_process',
          times.notifiedNode,
          { bar: { of: 'ours p50', most: 0.3 } },
        ),
      )
    }
  } finally {
    await ended(children)
    closeSync(file)
  }
  await until(() => processes() <= others)
  return rows
}

/** The kernel's own share: the C program, beside as many that it has started itself. */
async function withoutUs({ rounds }: Context, count: number): Promise<Unnamed[]> {
  using root = makeRoot()
  using limit = new Limit(root.path, '/true')
  using others = new Limit(root.path, '/pause')
  const none = await inTurns(rounds(100, 20), { wall: limit.wall })
  const { wall } = await others.stand(count)
  const many = await inTurns(rounds(100, 20), { wall: limit.wall })
  const what = `C, same calls, beside ${count} of C`
  return [
    compared(what, 'ms', many.wall, 'beside none', none.wall),
    alone(`C: starting ${count}`, '/s', [(count / wall) * 1e3]),
  ]
}
