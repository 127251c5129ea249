// Contexts as text; and that the kernel agrees, where there is one that knows.
import { describe, expect, test } from '@jest/globals'
import { inspect } from 'node:util'
import { Context, type KernelError, Level, Range, selinux } from 'fancyproc'
import { on, scaled } from './support/machine.ts'

const base = 'system_u:system_r:container_t'

/** Who dominates whom. Of ranges it is the high levels. */
const dominance: [mine: string, others: string, dominates: boolean][] = [
  // Equal.
  ['s0', 's0', true],
  ['s0:c1,c2', 's0:c1,c2', true],
  ['s0:c0.c1023', 's0:c0.c1023', true],
  // More.
  ['s0:c1', 's0', true],
  ['s0:c1,c2', 's0:c2', true],
  ['s0:c1.c5', 's0:c2.c4', true],
  ['s0:c0.c1023', 's0:c1023', true],
  // Less.
  ['s0', 's0:c1', false],
  ['s0:c2', 's0:c1,c2', false],
  ['s0:c2.c4', 's0:c1.c5', false],
  // Nothing in common.
  ['s0:c1', 's0:c2', false],
  ['s0:c0.c1022', 's0:c1023', false],
  ['s0:c0.c511', 's0:c512.c1023', false],
  // Something in common.
  ['s0:c1,c2', 's0:c2,c3', false],
  ['s0:c0.c5', 's0:c5.c9', false],
  ['s0-s0:c0.c1023', 's0:c5', true],
  ['s0-s0:c1,c2', 's0:c1,c2', true],
  ['s0-s0:c1', 's0:c1,c2', false],
  ['s0:c1-s0:c1,c2', 's0', true],
  ['s0:c1-s0:c1,c2', 's0:c3', false],
  ['s0:c5', 's0-s0:c0.c9', false],
  ['s0:c0.c9', 's0-s0:c5', true],
  ['s0-s0:c0.c9', 's0:c1-s0:c1.c3', true],
  ['s0-s0:c1.c3', 's0-s0:c0.c9', false],
]

describe('a context', () => {
  test('is taken apart and printed', () => {
    const context = Context.parse(`${base}:s0:c1,c2`)
    expect(context).toMatchObject({
      user: 'system_u',
      role: 'system_r',
      type: 'container_t',
      level: 's0:c1,c2',
    })
    expect(String(context)).toBe(`${base}:s0:c1,c2`)
    expect(inspect(context)).toBe(`Context(${base}:s0:c1,c2)`)
    expect(JSON.stringify({ context })).toBe(`{"context":"${base}:s0:c1,c2"}`)
    expect(context.range?.low.categories).toEqual([1, 2])
    expect(context.range?.low.sensitivity).toBe(0)
    expect(String(new Context({ user: 'a', role: 'b', type: 'c' }))).toBe('a:b:c')
    expect(Context.parse('a:b:c').level).toBeUndefined()
  })

  test.each([
    ['s0', 's0'],
    ['s0:c0.c1023', 's0:c0.c1023'],
    ['s0-s0:c0.c1023', 's0-s0:c0.c1023'],
    ['s0-s0', 's0'],
    ['s0:c2,c1,c1', 's0:c1,c2'],
    ['s0:c1,c2,c3', 's0:c1.c3'],
    ['s0:c1.c2', 's0:c1,c2'],
    ['s0:c1.c3,c4,c6,c9,c8', 's0:c1.c4,c6,c8,c9'],
    ['s0:c1-s15:c0,c1', 's0:c1-s15:c0,c1'],
  ])('at %s is at %s', (given, printed) => {
    expect(Context.parse(`${base}:${given}`).level).toBe(printed)
    expect(String(Range.parse(given))).toBe(printed)
  })

  test.each([
    ['', /^Context.parse: context: is empty/],
    ['a', /expected user:role:type:level/],
    ['a:b', /expected user:role:type:level/],
    ['a::c:s0', /^Context: role: is empty/],
    ['a b:c:d:s0', /^Context: user: no name: "a b"/],
    ['a:b:c:', /^Context: level: is empty/],
    ['a:b:c:s0\0', /NUL/],
    ['a:b:c:s0\n', /no sensitivity/],
    [`a:b:c:s0:c0,${'c1,'.repeat(2000)}c2`, /bytes, the kernel takes 4095/],
  ])('%j is none', (text, message) => {
    expect(() => Context.parse(text)).toThrow(message)
  })

  test.each([
    's', 'c0', 's00', 's16', 's-1', 'S0', 's0:', 's0:c', 's0:c1024', 's0:c01', 's0:c1,', 's0:,c1', 's0:c1..c3', 's0:c5.c5',
    's0:c5.c4', 's0:c1.c2.c3', 's0:c1:c2', 's0-', '-s0', 's0-s0-s0', 's1-s0', 's0:c1-s0', 's0:c1,c2-s0:c1,c3', 's0:c1 ', ' s0',
    's0:c99999999999999999999',
  ])('has no level %j', (level) => {
    expect(() => Context.parse(`${base}:${level}`)).toThrow(TypeError)
  }) // prettier-ignore

  test('is made from parts, and from another one', () => {
    const one = new Context({ user: 'a', role: 'b', type: 'c', level: 's0' })
    expect(String(one.with({ type: 'd', level: 's0:c3,c2' }))).toBe('a:b:d:s0:c2,c3')
    expect(String(one.with({ level: null }))).toBe('a:b:c')
    expect(String(one.with({ level: Level.parse('s0:c7') }))).toBe('a:b:c:s0:c7')
    expect(String(one.with({ level: Range.parse('s0-s1') }))).toBe('a:b:c:s0-s1')
    expect(String(one)).toBe('a:b:c:s0')
    const wrong = Context as unknown as new (fields: unknown) => Context
    expect(() => new wrong({ user: 'a', role: 'b' })).toThrow(/^Context: type: expected a string/)
    expect(() => new wrong('a:b:c')).toThrow(/^Context: options: expected an object/)
    expect(() => new wrong({ user: 'a', role: 'b', type: 'c', range: 's0' })).toThrow(
      /^Context: range: no such/,
    )
    expect(() => new wrong({ user: 'a', role: 'b', type: 'c', level: 5 })).toThrow(
      /^Context: level: expected/,
    )
  })

  test('compares by dominance', () => {
    const at = (level: string): Context => Context.parse(`${base}:${level}`)
    expect(at('s0:c1,c2').dominates(at('s0:c1,c2'))).toBe(true)
    expect(at('s0:c1,c2').dominates(at('s0'))).toBe(true)
    expect(at('s0:c1,c2').dominates(at('s0:c1,c3'))).toBe(false)
    expect(at('s0:c1,c3').dominates(at('s0:c1,c2'))).toBe(false)
    expect(at('s0:c1,c2').dominates(at('s1'))).toBe(false)
    expect(at('s0-s0:c0.c1023').dominates(`${base}:s0:c5`)).toBe(true)
    expect(at('s0:c5').dominates(at('s0-s0:c0.c1023'))).toBe(false)
    expect(at('s0-s0:c0.c9').contains(at('s0:c5'))).toBe(true)
    expect(at('s0:c1-s0:c0.c9').contains(at('s0:c5'))).toBe(false)
    expect(at('s0:c1.c3').equals(`${base}:s0:c3,c2,c1`)).toBe(true)
    expect(at('s0').equals(Context.parse('a:b:c:s0'))).toBe(false)
    expect(Context.parse(base).dominates(Context.parse(base))).toBe(true)
    expect(Context.parse(base).dominates(at('s0'))).toBe(false)
    expect(Level.parse('s1:c0').dominates(Level.parse('s0:c0'))).toBe(true)
    expect(Level.parse('s1').equals(Level.parse('s1:c0'))).toBe(false)
  })
})

test.each(dominance)('at %s dominates one at %s: %s', (mine, others, dominates) => {
  expect(Context.parse(`${base}:${mine}`).dominates(`${base}:${others}`)).toBe(dominates)
})

/** The same numbers each time. */
function random(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

const pick = random(20_260)
const one = <T>(...choices: T[]): T => choices[pick(choices.length)]!

function category(): string {
  return one(`c${String(pick(12))}`, `c${String(pick(12))}`, `c${String(pick(1024))}`)
}

function categories(): string {
  return Array.from({ length: 1 + pick(8) }, () => {
    const from = pick(1000)
    return one(category, category, () => `c${String(from)}.c${String(from + 1 + pick(20))}`)()
  }).join(',')
}

const level = (): string => one('s0', `s0:${categories()}`)

/** About half of them are right. */
function range(): string {
  const high = `s0:c0.c${String(900 + pick(124))}`
  return one(
    level,
    level,
    level,
    () => `${level()}-${level()}`,
    () => `${level()}-${high}`,
  )()
}

/** One character too many, too few, or another one. */
function damaged(text: string): string {
  const at = pick(text.length)
  const put = one('', '', 's', 'c', '0', '1', '9', ':', '.', ',', '-', 'x')
  return text.slice(0, at) + put + text.slice(at + pick(2))
}

const attempt = <T>(body: () => T): T | string => {
  try {
    return body()
  } catch (error) {
    return (error as KernelError).code
  }
}

const ours = (context: string): string => {
  const said = attempt(() => String(Context.parse(context)))
  return said.startsWith('ERR_') ? 'EINVAL' : said
}

describe('the kernel agrees', () => {
  const count = scaled(5000)
  const here = on({ lsm: 'selinux' })

  here.test('which levels there are, and how they are printed', () => {
    const seen = { good: 0, bad: 0 }
    for (let i = 0; i < count; i++) {
      const context = `${base}:${one(range, range, () => damaged(range()))()}`
      const said = attempt(() => selinux.canonicalize(context))
      seen[said === 'EINVAL' ? 'bad' : 'good']++
      // Policies without MLS apart, a context without a level is for the kernel to refuse.
      expect({ context, said: ours(context) }).toEqual({ context, said })
    }
    expect(seen.good).toBeGreaterThan(count / 5)
    expect(seen.bad).toBeGreaterThan(count / 5)
  })

  here.test('what it takes is none of what we refuse', () => {
    let good = 0
    for (let i = 0; i < count; i++) {
      const user = one('system_u', 'unconfined_u')
      const whole = one(
        `${user}:object_r:container_file_t:${level()}`,
        `${user}:object_r:${one('bin_t', 'tmp_t', 'nobody_t')}:s0`,
      )
      const context = one(whole, damaged(whole))
      const said = attempt(() => selinux.canonicalize(context))
      if (said === 'EINVAL') continue
      good++
      expect({ context, said: ours(context) }).toEqual({ context, said })
    }
    expect(good).toBeGreaterThan(count / 5)
  })

  const file = (level: string): Context => Context.parse(`system_u:object_r:container_file_t:${level}`)

  here.test('who dominates whom: it grants what MCS leaves to the level', () => {
    const said = dominance.map(([mine, others]): (typeof dominance)[number] => {
      const granted = selinux.check(Context.parse(`${base}:${mine}`), file(others), 'file', 'read')
      return [mine, others, granted]
    })
    expect(said).toEqual(dominance)
  })

  here.test('so it does for any levels', () => {
    const levels = Array.from({ length: scaled(40) + 6 }, () => level()).map((low) => Level.parse(low))
    for (const mine of levels) {
      const others = levels[pick(levels.length)]!
      const from = Context.parse(`${base}:${String(mine)}`)
      const to = file(String(others))
      const said = selinux.check(from, to, 'file', 'read')
      expect({ from, to, said: from.dominates(to) }).toEqual({ from, to, said })
    }
  })
})
