// What the engine can do with those that `run -d` left: look its record up, and ask the owner.
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { cgroups, isolation, type Isolation, type NamespaceInfo, namespaces, ps as table } from 'fancyproc'
import { fields, header, line } from '../columns.ts'
import { readLog } from './log.ts'
import { parse } from './options.ts'
import { Refusal } from './refusal.ts'
import { type Container, directory, find, forget, isRunning, list } from './state.ts'
import { columns } from './table.ts'

export function ps(args: string[]): number {
  const options = {
    all: { type: 'boolean', short: 'a', help: 'those that have ended, too' },
    quiet: { type: 'boolean', short: 'q', help: 'ids only' },
  } as const
  const { values } = parse('ps', 'ps [OPTIONS]', options, args)
  const shown = list().filter((container) => values.all || isRunning(container))
  if (values.quiet) for (const { id } of shown) console.log(id.slice(0, 12))
  else
    console.log(
      columns(['CONTAINER ID', 'IMAGE', 'COMMAND', 'CREATED', 'STATUS', 'PID', 'NAMES'], shown.map(row)),
    )
  return 0
}

function row(container: Container): string[] {
  const { id, image, command, created, pid, name } = container
  const text = command.join(' ')
  return [
    id.slice(0, 12),
    image,
    `"${text.length > 20 ? `${text.slice(0, 19)}…` : text}"`,
    `${since(created)} ago`,
    status(container),
    isRunning(container) ? String(pid) : '',
    name,
  ]
}

function status(container: Container): string {
  const { created, exitCode, finished } = container
  if (isRunning(container)) return `Up ${since(created)}`
  if (exitCode === undefined || finished === undefined)
    return container.pid === undefined ? 'Created' : 'Gone'
  return `Exited (${exitCode}) ${since(finished)} ago`
}

function since(date: string): string {
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(date)) / 1000))
  const units = [['day', 86400], ['hour', 3600], ['minute', 60]] as const // prettier-ignore
  const [unit, size] = units.find(([, size]) => seconds >= 2 * size) ?? ['second', 1]
  const count = Math.floor(seconds / size)
  return `${count} ${unit}${count === 1 ? '' : 's'}`
}

export async function top(args: string[]): Promise<number> {
  const { operands } = parse('top', 'top CONTAINER', {}, args)
  const [wanted, ...more] = operands
  if (wanted === undefined || more.length > 0) throw new Refusal("'docker top' takes one container")
  const container = find(wanted)
  const pids = isRunning(container) ? [container.pid ?? 0] : []
  const [first] = await table({ fields: ['namespaces'], pids })
  const inside = first?.namespaces.pid
  if (inside === undefined) throw new Refusal(`${container.name} is not running`)
  // Not by parents: whoever has joined it has another one.
  const rows = await table({ fields: ['namespaces', ...fields] })
  console.log(header)
  for (const row of rows) if (row.namespaces.pid === inside) console.log(line(row))
  return 0
}

export function logs(args: string[]): number {
  const { operands } = parse('logs', 'logs CONTAINER', {}, args)
  const [wanted, ...more] = operands
  if (wanted === undefined || more.length > 0) throw new Refusal("'docker logs' takes one container")
  process.stdout.write(readLog(directory(find(wanted))))
  return 0
}

/** What is remembered of it, and what the kernel has to say: the second would be there without the first. */
export async function inspect(args: string[]): Promise<number> {
  const options = { table: { type: 'boolean', short: 't', help: 'what sets it apart, to be read' } } as const
  const { values, operands } = parse('inspect', 'inspect [OPTIONS] CONTAINER...', options, args)
  const containers = operands.map(find)
  const all = await Promise.all(containers.map(look))
  if (values.table)
    for (const one of all)
      console.log(one.isolation ? isolation.format(one.isolation) : `${one.name} does not run`)
  else console.log(JSON.stringify(all, bigintAsHex, 2))
  return 0
}

async function look(container: Container): Promise<Container & Partial<Look>> {
  const { pid } = container
  if (pid === undefined || !isRunning(container)) return container
  const [its, all] = await Promise.all([isolation(pid), namespaces()])
  return {
    ...container,
    isolation: its,
    // Its own, and who else is in them.
    inside: all.filter(({ kind, pids }) => its.namespaces[kind].differs && pids.includes(pid)),
  }
}

interface Look {
  isolation: Isolation
  inside: NamespaceInfo[]
}

/** JSON has no bigint. */
function bigintAsHex(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `0x${value.toString(16)}` : value
}

export async function stop(args: string[]): Promise<number> {
  const options = {
    time: { type: 'string', short: 't', help: 'seconds between SIGTERM and SIGKILL, 10' },
  } as const
  const { values, operands } = parse('stop', 'stop [OPTIONS] CONTAINER...', options, args)
  const seconds = Number(values.time ?? 10)
  if (!(seconds >= 0 && seconds < 1e6)) throw new Refusal(`--time ${values.time ?? ''}: expected seconds`)
  return each('stop', operands, (container) => end(container, seconds))
}

export async function rm(args: string[]): Promise<number> {
  const options = { force: { type: 'boolean', short: 'f', help: 'kill it if it runs' } } as const
  const { values, operands } = parse('rm', 'rm [OPTIONS] CONTAINER...', options, args)
  return each('rm', operands, async (container) => {
    if (isRunning(container) && !values.force)
      throw new Refusal(`${container.name} is running: stop it first, or rm -f`)
    await end(container, 0)
    forget(container)
  })
}

/** As docker does: whatever fails, the others are done; those that are done are printed. */
async function each(
  name: string,
  wanted: string[],
  action: (container: Container) => Promise<void>,
): Promise<number> {
  if (wanted.length === 0) throw new Refusal(`'docker ${name}' needs a container`)
  const results = await Promise.allSettled(wanted.map(async (one) => action(find(one))))
  for (const [i, result] of results.entries()) {
    if (result.status === 'fulfilled') console.log(wanted[i])
    else console.error(`docker: ${(result.reason as Error).message}`)
  }
  return results.every(({ status }) => status === 'fulfilled') ? 0 : 1
}

/** SIGTERM, and after a while SIGKILL: the first process of a pid namespace ignores what it has no handler for. */
async function end(container: Container, seconds: number): Promise<void> {
  const door = await knock(container)
  if (!door) return endWithoutOwner(container)
  const over = once(door.resume(), 'close')
  if (seconds > 0) door.write('SIGTERM\n')
  const timer = new AbortController()
  const late = sleep(seconds * 1000, 'late', { signal: timer.signal }).catch(() => 'over')
  if ((await Promise.race([over, late])) === 'late') door.write('SIGKILL\n')
  timer.abort()
  await over
}

async function knock(container: Container): Promise<Socket | undefined> {
  const door = connect(join(directory(container), 'door'))
  try {
    await once(door, 'connect')
    return door
  } catch {
    return undefined
  }
}

/** Its shim was killed. The kernel still knows who is in the cgroup; without one, only a pid would be left to go by. */
async function endWithoutOwner(container: Container): Promise<void> {
  const { cgroup: path, pid = 0, name } = container
  if (path !== undefined && existsSync(path)) return (await cgroups.open(path)).remove({ kill: true })
  if (isRunning(container)) throw new Refusal(`the owner of ${name} is gone: kill ${pid} yourself`)
}
