// What is refused before anything has happened.
import { describe, expect, test } from '@jest/globals'
import { type Cgroup, cgroups } from 'fancyproc'
import { thrown } from './support/cgroups.ts'

/** Passes types by. */
const untyped = (options: unknown): object => options as object

describe('bad input, before anything has happened', () => {
  const create = cgroups.create as (...args: unknown[]) => Promise<Cgroup>

  test.each([[''], ['.'], ['..'], ['a/b'], ['a\0b'], ['a\nb'], [7], [undefined]])(
    'the name %j',
    async (name) => {
      await expect(create(name)).rejects.toMatchObject({ name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' })
    },
  )

  test.each([['pids'], ['../pids.max'], ['pids.max/x'], ['pids.'], ['']])('the file %j', async (file) => {
    await expect(create('x', { [file]: 1 })).rejects.toThrow(/^files: expected a file's name/)
  })

  test.each([[1.5], [NaN], [true], [null], [{}], ['1\0']])('the value %j', async (value) => {
    const message = (file: string): RegExp => new RegExp(`^files\\['${file}'\\]: expected `)
    await expect(create('x', { 'pids.max': value })).rejects.toThrow(message('pids.max'))
    await expect(create('x', { 'unknown.file': value })).rejects.toThrow(message('unknown.file'))
  })

  test('unknown options, wrong options, a name of an owned one', async () => {
    await expect(create('x', {}, { parnt: '/' })).rejects.toThrow(/^options\.parnt: no such option/)
    await expect(create('x', {}, { detached: 1 })).rejects.toThrow(/^options\.detached: expected a boolean/)
    await expect(create('x', {}, { parent: 'relative' })).rejects.toThrow(
      /^parent: expected the absolute path/,
    )
    await expect(create('fancyproc.1.2.3.x', {}, { detached: true })).rejects.toThrow(
      /^name: a sweep would take it/,
    )
    await expect(create('x'.repeat(256), {}, { detached: true })).rejects.toThrow(/^name: longer/)
  })

  test.each<[unknown, string]>([
    [{ kil: true }, 'kil: no such option; known are parent, kill'],
    [{ kill: 1 }, 'kill: expected a boolean, got 1'],
    [null, 'options: expected an object, got null'],
    [{ parent: 'relative' }, 'parent: expected the absolute path'],
  ])('sweep: %j', async (options, problem) => {
    const error = await thrown(cgroups.sweep(untyped(options)))
    expect(error).toBeInstanceOf(TypeError)
    expect(error.message.startsWith(`sweep: ${problem}`)).toBe(true)
  })

  test('open: a path that is none, is not there, is no cgroup', async () => {
    await expect(cgroups.open('relative')).rejects.toThrow(/^path: expected the absolute path/)
    await expect(cgroups.open('/nowhere')).rejects.toMatchObject({
      code: 'ENOENT',
      hint: 'there is no such cgroup',
    })
    await expect(cgroups.open('/proc')).rejects.toMatchObject({ code: 'EBADF', path: '/proc' })
  })
})
