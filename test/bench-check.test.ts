import { expect, test } from '@jest/globals'
import { ratiosOf, regressions } from '../bench/check.ts'
import { compared, met, named, type Row } from '../bench/measure.ts'

/** Ours takes so many times as long as theirs, give or take some. */
function row(times: number, unit = 'ms', noise = 0.02, count = 60): Row {
  const theirs = Array.from({ length: count }, (_, i) => 2 + (i % 7) * 0.1)
  const ours = theirs.map((value, i) => value * times * (1 + noise * ((i % 5) - 2)))
  const [made] = named('launch', [compared('a launch', unit, ours, 'C', theirs, { bar: { most: 1.15 } })])
  if (!made) throw new Error('unreachable')
  return made
}

const before = ratiosOf([row(1.1)])

test('a ratio has its section, what and against', () => {
  expect(Object.keys(before)).toEqual(['launch: a launch / C'])
})

test('what is as before, better or a little worse is no regression', () => {
  for (const times of [1.1, 0.5, 1.15]) expect(regressions([row(times)], before)).toEqual([])
})

test('what is worse than noise explains is told, with both ratios', () => {
  expect(regressions([row(1.4)], before)).toEqual([
    expect.stringMatching(/^launch: a launch \/ C: 1\.4\d\d× \(.*\), was 1\.1\d\d× \(/),
  ])
})

test('where noise explains as much, it is not', () => {
  expect(regressions([row(1.4, 'ms', 0.4, 9)], before)).toEqual([])
})

test('of rates, less is worse', () => {
  const rates = ratiosOf([row(1, '/s')])
  expect(regressions([row(1.5, 'MB/s')], rates)).toEqual([])
  expect(regressions([row(0.7, 'MB/s')], rates)).toHaveLength(1)
})

test('a row that was not there before is none', () => {
  expect(regressions([{ ...row(9), what: 'another' }], before)).toEqual([])
})

test('a bar is met or missed by the median of the ratios', () => {
  expect([row(1.1), row(1.3)].map(met)).toEqual([true, false])
})
