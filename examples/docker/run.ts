// docker run [OPTIONS] IMAGE COMMAND [ARG...]
import { randomBytes } from 'node:crypto'
import { realpathSync, statSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { spawn } from 'fancyproc'
import { runAttached } from './attached.ts'
import { type Given, parse } from './options.ts'
import { Refusal } from './refusal.ts'
import { NO_IMAGE } from './root.ts'
import { labelOptions } from './label.ts'
import { namespaces } from './sandbox.ts'
import type { Report } from './shim.ts'
import { type Container, create, forget, list, quietly } from './state.ts'
import { say } from './table.ts'

const options = {
  detach: { type: 'boolean', short: 'd', help: 'run in the background and print the id' },
  tty: { type: 'boolean', short: 't', help: 'give it a pseudo-terminal' },
  interactive: { type: 'boolean', short: 'i', help: 'give it our standard input' },
  rm: { type: 'boolean', help: 'forget it when it has ended' },
  name: { type: 'string', help: 'instead of a made-up one' },
  hostname: { type: 'string', short: 'h', help: 'instead of the id' },
  env: { type: 'string', short: 'e', multiple: true, help: 'NAME=VALUE, or NAME for our own value' },
  memory: { type: 'string', short: 'm', help: 'bytes, or with k, m, g: memory.max of its cgroup' },
  'pids-limit': { type: 'string', help: 'pids.max of its cgroup' },
  rootfs: { type: 'string', help: "a directory; without it, the machine's own" },
  'security-opt': {
    type: 'string',
    multiple: true,
    help: 'label=disable, label=type:…, label=level:s0:c1,c2 …',
  },
} as const

export const usage = 'run [OPTIONS] IMAGE COMMAND [ARG...]'

export async function run(args: string[]): Promise<number> {
  const { values, operands } = parse('run', usage, options, args, 125)
  const [image, ...command] = operands
  if (image === undefined)
    throw new Refusal(`'docker run' needs an image's name and a program: ${usage}`, 125)
  if (command.length === 0)
    throw new Refusal(`there is no image ${image}, so no default command: name a program`, 125)
  const container = describe(image, command, values)
  create(container)
  try {
    return await (values.detach ? runDetached(container) : runAttached(container))
  } catch (error) {
    forget(container)
    throw error
  }
}

function describe(image: string, command: string[], values: Given<typeof options>): Container {
  labelOptions(values['security-opt'] ?? [])
  const id = randomBytes(32).toString('hex')
  const rootfs = values.rootfs === undefined ? undefined : directoryAt(values.rootfs)
  return {
    id,
    name: nameFor(values.name, command),
    image,
    command,
    created: new Date().toISOString(),
    tty: values.tty ?? false,
    interactive: values.interactive ?? false,
    rm: values.rm ?? false,
    rootfs,
    hostname: values.hostname ?? id.slice(0, 12),
    env: environment(values.env ?? []),
    limits: limits(values.memory, values['pids-limit']),
    securityOptions: values['security-opt'] ?? [],
    label: undefined,
    namespaces: [...namespaces, 'cgroup'],
    notes: rootfs === undefined ? [...NO_IMAGE] : [],
  }
}

function directoryAt(path: string): string {
  if (!quietly(() => statSync(path).isDirectory()))
    throw new Refusal(`--rootfs ${path}: no such directory`, 125)
  return realpathSync(path)
}

const adjectives = [
  'fancy',
  'ordinary',
  'regular',
  'plain',
  'common',
  'everyday',
  'usual',
  'normal',
  'modest',
]

function nameFor(wanted: string | undefined, [program = '']: string[]): string {
  const taken = new Set(list().map(({ name }) => name))
  if (wanted !== undefined) {
    if (!/^[a-zA-Z0-9][\w.-]*$/.test(wanted))
      throw new Refusal(`--name ${wanted}: letters, digits, _, . and - only`, 125)
    if (taken.has(wanted))
      throw new Refusal(`the name ${wanted} is in use: rm that one, or take another`, 125)
    return wanted
  }
  const names = adjectives.map((adjective) => `${adjective}_${basename(program)}`)
  return names.find((name) => !taken.has(name)) ?? `${names[0] ?? ''}_${randomBytes(3).toString('hex')}`
}

export function environment(pairs: string[]): Record<string, string> {
  const split = pairs.map((pair): [string, string | undefined] => {
    const [name = '', ...value] = pair.split('=')
    return [name, value.length === 0 ? process.env[name] : value.join('=')]
  })
  return Object.fromEntries(split.filter((pair): pair is [string, string] => pair[1] !== undefined))
}

function limits(memory: string | undefined, pids: string | undefined): Record<string, number> {
  const units = { '': 1, b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 }
  const [, size, unit = ''] = /^(\d+)([bkmg]?)$/i.exec(memory ?? '') ?? []
  if (memory !== undefined && size === undefined)
    throw new Refusal(`--memory ${memory}: expected e.g. 64m`, 125)
  if (pids !== undefined && !/^\d+$/.test(pids))
    throw new Refusal(`--pids-limit ${pids}: expected a number`, 125)
  return {
    ...(size !== undefined && {
      'memory.max': Number(size) * units[unit.toLowerCase() as keyof typeof units],
    }),
    ...(pids !== undefined && { 'pids.max': Number(pids) }),
  }
}

/** A process of its own, in a session of its own, holds the terminal; we are gone before it. */
async function runDetached(container: Container): Promise<number> {
  const shim = spawn(process.execPath, [fileURLToPath(new URL('./shim.js', import.meta.url)), container.id], {
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    env: process.env,
  })
  shim.unref()
  const report = await reportOf(shim)
  say(report.notes)
  if (report.error !== undefined) throw new Refusal(report.error, report.exitCode)
  console.log(container.id)
  return 0
}

async function reportOf(shim: ReturnType<typeof spawn>): Promise<Report> {
  await shim.spawned
  let text = ''
  for await (const chunk of shim.stdio[3] ?? []) text += String(chunk)
  if (text === '') throw new Refusal('its shim ended without a word', 125)
  return JSON.parse(text) as Report
}
