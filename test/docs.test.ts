import { describe, expect, test } from '@jest/globals'
import { readdirSync, readFileSync } from 'node:fs'

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
