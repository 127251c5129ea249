// Bad input: a clear error, nothing started, nothing left behind.
import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { KernelError, run, spawn, type SpawnOptions } from 'fancyproc'
import {
  chdir,
  chroot,
  clone,
  closeRange,
  mapUser,
  mkdir,
  mount,
  sethostname,
  setresuid,
  type Step,
  umask,
  writeFile,
} from 'fancyproc/steps'
import { facts, on } from './support/machine.ts'
import { begun, blocked, scratch } from './support/scratch.ts'
import { type Leaks, leaks, settled } from './support/state.ts'

const path = scratch()
const rights = facts.user === 'root' ? {} : { userns: true }

let before: Leaks
beforeAll(async () => {
  await run('true', [], { stdio: 'pty' })
  await run('true')
})
beforeEach(() => {
  before = leaks()
})
afterEach(async () => {
  expect(await settled(before)).toEqual(before)
})

async function failure(file: string, args: string[] = [], options: SpawnOptions = {}): Promise<KernelError> {
  const error: unknown = await spawn(file, args, options).exited.catch((error: unknown) => error)
  expect(error).toBeInstanceOf(KernelError)
  return error as KernelError
}

describe('a program', () => {
  test.each<[string, (name: string) => void, Record<string, unknown>]>([
    ['that is not there', () => undefined, { code: 'ENOENT' }],
    ['that is a directory', (name) => mkdirSync(name), { code: 'EACCES', hint: /is a directory/ }],
    [
      'not executable',
      (name) => {
        writeFileSync(name, '#!/bin/sh\n')
      },
      { code: 'EACCES', hint: /not executable/ },
    ],
    [
      'of no format',
      (name) => {
        writeFileSync(name, 'echo\n', { mode: 0o755 })
      },
      { code: 'ENOEXEC', hint: /#!/ },
    ],
    [
      'that is empty',
      (name) => {
        writeFileSync(name, '', { mode: 0o755 })
      },
      { code: 'ENOEXEC', hint: /#!/ },
    ],
    [
      'whose interpreter is missing',
      (name) => {
        writeFileSync(name, '#!/no/interpreter -x\n', { mode: 0o755 })
      },
      { code: 'ENOENT', hint: /is there, its interpreter \/no\/interpreter is not/ },
    ],
    [
      'behind what is no directory',
      (name) => {
        writeFileSync(name.slice(0, name.lastIndexOf('/')), '')
      },
      { code: 'ENOTDIR' },
    ],
  ])('%s', async (name, make, { code, hint }) => {
    const file = path(name.replaceAll(' ', '-'), ...(code === 'ENOTDIR' ? ['x'] : []))
    make(file)
    const error = await failure(file)
    expect(error).toMatchObject({ code, syscall: 'execve', path: file })
    expect(error.step).toBeUndefined()
    if (hint !== undefined) expect(error.hint).toMatch(hint as RegExp)
    expect(error.message).toContain(`${String(code)}: `)
  })

  test('an ELF whose loader is missing', async () => {
    const file = path('elf')
    // The least that the kernel takes for a program with PT_INTERP.
    const elf = Buffer.alloc(512)
    elf.write('\x7fELF\x02\x01\x01', 'latin1')
    elf.writeUInt16LE(2, 16)
    elf.writeUInt16LE(process.arch === 'arm64' ? 183 : 62, 18)
    elf.writeUInt32LE(1, 20)
    elf.writeBigUInt64LE(64n, 32)
    elf.writeUInt16LE(64, 52)
    elf.writeUInt16LE(56, 54)
    elf.writeUInt16LE(1, 56)
    elf.writeUInt32LE(3, 64)
    elf.writeBigUInt64LE(256n, 72)
    const loader = '/no/ld-linux.so.2\0'
    elf.writeBigUInt64LE(BigInt(loader.length), 96)
    elf.write(loader, 256)
    writeFileSync(file, elf, { mode: 0o755 })
    expect(await failure(file)).toMatchObject({
      code: 'ENOENT',
      hint: `${file} is there, its interpreter /no/ld-linux.so.2 is not`,
    })
  })

  test('on no PATH', async () => {
    const error = await failure('fancyproc-none', [], { env: { PATH: '/bin:/usr/bin' } })
    expect(error).toMatchObject({ code: 'ENOENT', path: 'fancyproc-none' })
    expect(error.hint).toContain('PATH=/bin:/usr/bin')
  })

  test('with more arguments, or a longer one, than the kernel takes', async () => {
    const expected = {
      code: 'E2BIG',
      syscall: 'execve',
      hint: expect.stringContaining('RLIMIT_STACK') as unknown,
    }
    expect(await failure('/bin/true', ['x'.repeat(1 << 17)])).toMatchObject(expected)
    expect(
      await failure(
        'true',
        Array.from({ length: 4000 }, () => 'x'.repeat(4000)),
      ),
    ).toMatchObject(expected)
    expect(await failure('true', [], { env: { A: 'x'.repeat(1 << 17) } })).toMatchObject(expected)
    const many = Object.fromEntries(
      Array.from({ length: 4000 }, (_, i) => [`A${String(i)}`, 'x'.repeat(4000)]),
    )
    expect(await failure('/bin/true', [], { env: many })).toMatchObject(expected)
    // Just below.
    expect(await run('true', ['x'.repeat((1 << 17) - 1)])).toMatchObject({ code: 0 })
  })
})

describe('a step that the kernel refuses', () => {
  test('ends the child before the next one; the error says which call, on what', async () => {
    const marker = path('marker')
    const nowhere = mkdir(path('no/where'))
    const error = await failure('true', [], { steps: [chdir('/'), [[nowhere]], writeFile(marker, '')] })
    expect(error).toMatchObject({
      name: 'KernelError',
      code: 'ENOENT',
      errno: -2,
      syscall: 'mkdirat',
      step: 1,
      path: path('no/where'),
      args: nowhere.args,
    })
    expect(error.message).toBe(
      `ENOENT: no such file or directory, mkdirat '${path('no/where')}'\n` +
        `  at steps[1][0][0]: ${nowhere.toString()}\n  hint: ${error.hint ?? ''}`,
    )
    expect(existsSync(marker)).toBe(false)
  })

  test('in the middle of one that makes several calls', async () => {
    // Every write to it is ENOSPC.
    const error = await failure('true', [], { steps: [umask(0), writeFile('/dev/full', 'x', { flags: 0 })] })
    expect(error).toMatchObject({ code: 'ENOSPC', syscall: 'write', step: 1, path: '/dev/full' })
  })

  test('is told of the last of 10,000, of which the first are done', async () => {
    const marker = path('first')
    const steps = [
      writeFile(marker, 'x'),
      Array.from({ length: 9998 }, () => umask(0o22)),
      chdir('/nonexistent'),
    ]
    expect(await failure('true', [], { steps })).toMatchObject({ step: 9999, syscall: 'chdir' })
    expect(existsSync(marker)).toBe(true)
    expect(await run('true', [], { steps: Array.from({ length: 10_000 }, () => umask(0o22)) })).toMatchObject(
      { code: 0 },
    )
  })

  test('nested as deep as the list is long', async () => {
    let steps: SpawnOptions['steps'] = []
    for (let i = 0; i < 3000; i++) steps = [chdir('/'), steps]
    expect(await run('true', [], { steps })).toMatchObject({ code: 0 })
  })

  on({ user: 'ordinary' }).test('for want of privilege says what would give it', async () => {
    const namespaces = await failure('true', [], { namespaces: ['mnt'] })
    expect(namespaces).toMatchObject({ code: 'EPERM', syscall: 'clone3' })
    expect(namespaces.hint).toContain("'user'")
    const named = await failure('true', [], { steps: [sethostname('x')] })
    expect(named).toMatchObject({ code: 'EPERM', syscall: 'sethostname', step: 0 })
    expect((await failure('true', [], { steps: [chroot('/')] })).hint).toContain('CAP_SYS_CHROOT')
    expect(await failure('true', [], { steps: [setresuid(0)] })).toMatchObject({
      code: 'EPERM',
      syscall: 'setresuid',
    })
  })

  on({ user: 'root' }).test('a taken pid, one for a namespace that there is not', async () => {
    expect(await failure('true', [], { setTid: [process.pid] })).toMatchObject({
      code: 'EEXIST',
      syscall: 'clone3',
      hint: 'a pid of setTid is taken',
    })
    expect(await failure('true', [], { setTid: [7], namespaces: ['pid'] })).toMatchObject({ code: 'EINVAL' })
    expect(await failure('true', [], { setTid: [1, 7, 7] })).toMatchObject({ code: 'EINVAL' })
  })

  on(rights).test('mount options that the filesystem does not know', async () => {
    const user: SpawnOptions =
      facts.user === 'root' ? { namespaces: ['mnt'] } : { namespaces: ['user', 'mnt'], steps: mapUser() }
    const steps = [user.steps ?? [], mount({ target: path(), type: 'tmpfs', data: 'nonsense=1' })]
    expect(await failure('true', [], { ...user, steps })).toMatchObject({ code: 'EINVAL', syscall: 'mount' })
  })
})

describe('a child that dies in its setup', () => {
  test('by SIGKILL of somebody else', async () => {
    const child = spawn('true', { steps: blocked(path('killed')) })
    const exited = child.exited.catch((error: unknown) => error)
    process.kill(await begun(child), 'SIGKILL')
    const error = await exited
    expect(error).toBeInstanceOf(KernelError)
    expect(error).toMatchObject({
      code: 'SIGKILL',
      signal: 'SIGKILL',
      syscall: 'openat',
      step: 3,
      path: path('killed'),
    })
    expect((error as KernelError).hint).toContain('killed by SIGKILL')
    expect(child.fds['self']!.closed).toBe(true)
  })

  test('by a signal that its own steps allow', async () => {
    const child = spawn('true', { steps: blocked(path('terminated')) })
    const exited = child.exited.catch((error: unknown) => error)
    process.kill(await begun(child), 'SIGXCPU')
    expect(await exited).toMatchObject({ code: 'SIGXCPU', step: 3 })
  })

  on(rights).test('as the maker of a cloned one, it does not: the clone is the process', async () => {
    const user: Step[] = facts.user === 'root' ? [] : mapUser()
    const options: SpawnOptions = facts.user === 'root' ? {} : { namespaces: ['user'] }
    const steps = [user, clone('pid'), blocked(path('cloned'))]
    const child = spawn('true', { ...options, steps })
    const exited = child.exited.catch((error: unknown) => error)
    process.kill(await begun(child), 'SIGKILL')
    expect(await exited).toMatchObject({ code: 'SIGKILL', syscall: 'openat' })
  })

  test('does not by its own close_range', async () => {
    const steps = [closeRange(0), closeRange(3), closeRange(0, 1000), chdir('/')]
    expect(await spawn('true', { steps, stdio: 'ignore' }).exited).toMatchObject({ code: 0 })
    expect(await failure('true', [], { steps: [closeRange(0), chdir('/nonexistent')] })).toMatchObject({
      step: 1,
    })
  })
})
