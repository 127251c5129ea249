import { describe, expect, test } from '@jest/globals'
import { readdirSync, readFileSync } from 'node:fs'
import { apparmor, cgroups, pressure, selinux } from 'fancyproc'
import { Cgroup } from '../lib/cgroups.ts'

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

/** Calls that are no steps: what the objects of the public interface have, and the methods of a cgroup. */
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

test('the calls are found', () => {
  const found = calls.map(({ of, name }) => `${of}.${name}`)
  for (const one of [
    'selinux.getpidattr',
    'selinux.relabel',
    'cgroups.create',
    'Cgroup.watchPressure',
    'pressure.watch',
  ])
    expect(found).toContain(one)
  expect(found.length).toBeGreaterThan(65)
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
