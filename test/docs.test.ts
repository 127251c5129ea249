import { describe, expect, test } from '@jest/globals'
import { readdirSync, readFileSync } from 'node:fs'
import { apparmor, cgroups, namespaces, pressure, processes, selinux } from 'fancyproc'
import { Cgroup } from '../lib/cgroups.ts'
import { native } from '../lib/native.ts'

const directory = new URL('../lib/steps/', import.meta.url)

/** Exported functions that return a step or several, with what stands right before them. */
function documented(source: string): { name: string; doc: string }[] {
  const found: { name: string; doc: string }[] = []
  for (const { index, 1: name = '' } of source.matchAll(/^export function (\w+)/gm)) {
    const returned = /\): ([^\n]+) \{$/m.exec(source.slice(index))?.[1] ?? ''
    if (!/^\w*Step(\[\])?$/.test(returned)) continue
    const before = source.slice(0, index)
    const doc = before.endsWith('*/\n') ? before.slice(before.lastIndexOf('/**')) : ''
    found.push({ name, doc: doc.replace(/^ ?\*+ ?/gm, '') })
  }
  return found
}

const steps = readdirSync(directory)
  .filter((file) => file.endsWith('.ts'))
  .flatMap((file) => documented(readFileSync(new URL(file, directory), 'utf8')))

/** What stands right before the first declaration that has this name, in one of these files. */
function docOf(name: string, files: readonly string[], indent = ''): string {
  const declaration = new RegExp(`^${indent}(export )?(async |static )*(function )?${name}[<(]`, 'm')
  for (const file of files) {
    const source = readFileSync(new URL(`../lib/${file}`, import.meta.url), 'utf8')
    const at = declaration.exec(source)?.index
    if (at === undefined) continue
    const before = source.slice(0, at)
    const doc = before.endsWith('*/\n') ? before.slice(before.lastIndexOf('/**')) : ''
    return doc.replace(/^ *\*+ ?/gm, '')
  }
  throw new Error(`no ${name} in ${files.join(', ')}`)
}

const filesIn = (folder: string): string[] =>
  readdirSync(new URL(`../lib/${folder}/`, import.meta.url)).map((file) => `${folder}/${file}`)

const methods = (of: string, file: string, names: string[]): { of: string; name: string; doc: string }[] =>
  names.map((name) => ({ of, name, doc: docOf(name, [file], '  ') }))

/** Calls that are no steps: what is exported, what the objects of the public interface have, and the methods of what they give. */
const calls = [
  ...Object.keys(selinux).map((name) => ({ of: 'selinux', name, doc: docOf(name, filesIn('selinux')) })),
  ...Object.keys(apparmor).map((name) => ({ of: 'apparmor', name, doc: docOf(name, ['apparmor.ts']) })),
  ...Object.keys(pressure).map((name) => ({ of: 'pressure', name, doc: docOf(name, ['pressure.ts']) })),
  ...Object.keys(cgroups).map((name) => ({
    of: 'cgroups',
    name,
    doc: docOf(name, [
      'cgroups.ts',
      'cgroups/create.ts',
      'cgroups/delegation.ts',
      'cgroups/hierarchy.ts',
      'cgroups/sweep.ts',
    ]),
  })),
  ...Object.getOwnPropertyNames(Cgroup.prototype)
    .filter((name) => typeof Object.getOwnPropertyDescriptor(Cgroup.prototype, name)?.value === 'function')
    // Ours, the language's, and close(2).
    .filter((name) => !['constructor', 'directory', 'toString', 'close'].includes(name))
    .map((name) => ({ of: 'Cgroup', name, doc: docOf(name, ['cgroups/cgroup.ts'], '  ') })),
  ...[
    ['spawn', 'spawn.ts'] as const,
    ['run', 'run.ts'] as const,
    ['joinSteps', 'join.ts'] as const,
    ['inNamespaces', 'in-namespaces.ts'] as const,
    ['isolation', 'isolation/isolation.ts'] as const,
    ['ps', 'ps.ts'] as const,
    ['probe', 'probe.ts'] as const,
    ['readMountinfo', 'mountinfo.ts'] as const,
  ].map(([name, file]) => ({ of: 'fancyproc', name, doc: docOf(name, [file]) })),
  ...['list', ...Object.keys(namespaces)].map((name) => ({
    of: 'namespaces',
    name,
    doc: docOf(name, filesIn('namespaces')),
  })),
  ...Object.keys(processes).map((name) => ({
    of: 'processes',
    name,
    doc: docOf(name, ['processes/handle.ts', 'processes/watch.ts']),
  })),
  ...methods('NamespaceFd', 'namespaces/fd.ts', ['owner', 'parent', 'pidInside', 'pidOutside']),
  ...methods('ProcessHandle', 'processes/handle.ts', ['kill', 'getfd']),
  ...methods('Process', 'process.ts', ['kill']),
  ...methods('Pty', 'pty.ts', ['resize']),
]
const names = steps.map(({ name }) => name)

test('the functions are found', () => {
  expect(names).toEqual(expect.arrayContaining(['mount', 'open', 'sendFd', 'uidMap', 'mapUser', 'umount2']))
  expect(names.length).toBeGreaterThan(40)
})

describe.each(steps)('$name says', ({ name, doc }) => {
  const text = doc.replace(/\s+/g, ' ')

  test('what it calls', () => {
    expect(text).toMatch(/^\/\*\* `[^`]+`.*?: /)
  })

  test('since which kernel', () => {
    expect(text).toMatch(/Since Linux \d+\.\d+/)
  })

  test('what it acts on, and with which privilege', () => {
    const paragraph = /^Acts on: [^|]*?(?=\n\n)/m.exec(doc)?.[0] ?? ''
    expect(paragraph).toMatch(/\bneeds?\b/i)
  })

  test('how it fails', () => {
    const others = /^Errnos: ([^|]*?)\n\n/m.exec(doc)?.[1]
    if (others === undefined) expect(doc).toMatch(/^\| errno +\| when \|\n\|-+\|-+\|\n\| E[A-Z0-9]+/m)
    else if (!others.startsWith('none')) {
      const meant = [...others.matchAll(/`(\w+)`/g)].map(([, other]) => other)
      expect(meant.filter((other) => other !== name && names.includes(other ?? ''))).not.toEqual([])
    }
  })

  test('where to read on', () => {
    expect(text).toMatch(/See .*`man \d \w+`/)
  })
})

test('the README has every operation, and since when there is it', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  const rows = [...readme.matchAll(/^\| ([\w, ]+) \| [^|]+ \| (\d[\d., ]*) \|/gm)]
  const told = new Map(
    rows.flatMap(([, names = '', since = '']) => names.split(', ').map((name) => [name, since] as const)),
  )
  for (const { name, kernel } of native().table.values())
    expect([name, told.get(name)?.split(', ')]).toEqual([name, expect.arrayContaining([kernel])])
})

test('the calls are found', () => {
  const found = calls.map(({ of, name }) => `${of}.${name}`)
  for (const one of [
    'selinux.getpidattr',
    'selinux.relabel',
    'cgroups.create',
    'Cgroup.watchPressure',
    'pressure.watch',
    'namespaces.pool',
    'ProcessHandle.getfd',
  ])
    expect(found).toContain(one)
  expect(found.length).toBeGreaterThan(85)
})

describe.each(calls)('$of: $name says', ({ of, name, doc }) => {
  const text = doc.replace(/\s+/g, ' ')

  test('what it calls, and since which kernel', () => {
    expect(text).toMatch(/^\/\*\* `[^`]+`.*?: /)
    expect(text).toMatch(/Since Linux \d+\.\d+/)
  })

  test('what it acts on, and with which privilege', () => {
    expect(/^Acts on: [^|]*?(?=\n\n)/m.exec(doc)?.[0] ?? '').toMatch(/\bneeds?\b/i)
  })

  test('how it fails', () => {
    const others = /^Errnos: ([^|]*?)\n\n/m.exec(doc)?.[1]
    if (others === undefined) expect(doc).toMatch(/^\| errno +\| when \|\n\|-+\|-+\|\n\| E[A-Z0-9]+/m)
    else if (!others.startsWith('none')) {
      const meant = [...others.matchAll(/`(\w+)(?:\(\))?`/g)].map(([, other]) => other)
      const siblings = calls.filter((call) => call.of === of && call.name !== name).map((call) => call.name)
      expect(meant.filter((other) => siblings.includes(other ?? ''))).not.toEqual([])
    }
  })

  test('where to read on', () => {
    expect(text).toMatch(/See .*(`man \d \w+`|Documentation\/[\w/-]+)/)
  })
})
