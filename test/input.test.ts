// Bad input that is wrong by itself: it throws before anything has happened, and names the argument.
import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { existsSync } from 'node:fs'
import { KernelError, run, spawn, type SpawnOptions } from 'fancyproc'
import {
  aaChangeOnexec,
  aaChangeProfile,
  chdir,
  clone,
  dup,
  mount,
  open,
  setcon,
  setexeccon,
  setfscreatecon,
  setkeycreatecon,
  setPdeathsig,
  setresuid,
  setsockcreatecon,
  type Step,
  writeFile,
} from 'fancyproc/steps'
import { on } from './support/machine.ts'
import { scratch } from './support/scratch.ts'
import { type Leaks, leaks, settled } from './support/state.ts'

const path = scratch()
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

function thrown(action: () => unknown): Error & Record<string, unknown> {
  try {
    action()
  } catch (error) {
    return error as Error & Record<string, unknown>
  }
  throw new Error('nothing was thrown')
}

async function failure(file: string, args: string[] = [], options: SpawnOptions = {}): Promise<KernelError> {
  const error: unknown = await spawn(file, args, options).exited.catch((error: unknown) => error)
  expect(error).toBeInstanceOf(KernelError)
  return error as KernelError
}

describe('what is wrong by itself throws at once, and names the argument', () => {
  const call = spawn as (...args: unknown[]) => unknown
  const lone = 'a\ud800b'
  test.each<[string, unknown[], RegExp]>([
    ['no file', [undefined], /^file: expected a string/],
    ['an empty one', [''], /^file: is empty/],
    ['a NUL in it', ['tr\0ue'], /^file: holds a NUL/],
    ['no Unicode', [lone], /^file: is not well-formed/],
    ['args', ['true', 'args'], /^(args|options): expected/],
    ['an arg', ['true', ['a', 1]], /^args\[1\]: expected a string/],
    ['an arg with NUL', ['true', ['a\0']], /^args\[0\]: holds a NUL/],
    ['an arg of no Unicode', ['true', [lone]], /^args\[0\]: is not well-formed/],
    ['options', ['true', [], 'options'], /^options: expected/],
    ['options that are a list', ['true', [], []], /^options: expected/],
    ['an option', ['true', { step: [] }], /^options\.step: no such option; known are .*steps/],
    ['cwd', ['true', { cwd: '/' }], /^options\.cwd: .*chdir/],
    ['uid', ['true', { uid: 1 }], /^options\.uid: .*setresuid/],
    ['gid', ['true', { gid: 1 }], /^options\.gid: .*setresgid/],
    ['shell', ['true', { shell: true }], /^options\.shell: /],
    ['a namespace', ['true', { namespaces: ['mount'] }], /^namespaces\[0\]: .*"mount"; known are .*mnt/],
    ['a flag that is no namespace', ['true', { namespaces: [0x200] }], /^namespaces(\[0\])?: .*0x200/],
    ['namespaces', ['true', { namespaces: {} }], /^namespaces: expected/],
    ['steps', ['true', { steps: 'chdir' }], /^steps: expected an array/],
    ['a step', ['true', { steps: [chdir('/'), [[{}]]] }], /^steps\[1\]\[0\]\[0\]: expected a step/],
    [
      'a step that was not called',
      ['true', { steps: [chdir] }],
      /^steps\[0\]: expected a step, got a function/,
    ],
    ['env', ['true', { env: 'A=b' }], /^env: expected/],
    ['env that is a list', ['true', { env: ['A=b'] }], /^env: expected/],
    ['a value of it', ['true', { env: { A: 1 } }], /^env\.A: expected a string/],
    ['a NUL in it', ['true', { env: { A: 'b\0' } }], /^env\.A: holds a NUL/],
    ['a name of it', ['true', { env: { 'A=B': 'c' } }], /^env: .*"A=B"/],
    ['an empty name', ['true', { env: { '': 'c' } }], /^env: is empty/],
    ['argv0', ['true', { argv0: 1 }], /^argv0: expected a string/],
    ['signal', ['true', { signal: {} }], /^signal: expected an AbortSignal/],
    ['timeout', ['true', { timeout: -1 }], /^timeout: expected/],
    ['timeout', ['true', { timeout: NaN }], /^timeout: expected/],
    ['killSignal', ['true', { killSignal: 'SIGNONE' }], /^killSignal: no signal/],
    ['detached', ['true', { detached: 1 }], /^detached: expected a boolean/],
    ['setTid', ['true', { setTid: [0] }], /^setTid: expected/],
    ['setTid', ['true', { setTid: 7 }], /^setTid: expected/],
    ['cgroup', ['true', { cgroup: 'relative' }], /^cgroup: expected/],
    ['cgroup', ['true', { cgroup: {} }], /^cgroup: expected/],
    ['pty', ['true', { stdio: 'pty', pty: 80 }], /^pty: expected/],
    ['a side of it', ['true', { stdio: 'pty', pty: { colums: 80 } }], /^pty\.colums: no such/],
    ['the size of a terminal that there is not', ['true', { pty: { columns: 80 } }], /^pty: .*stdio/],
  ])('%s', (_name, args, message) => {
    const error = thrown(() => call(...args))
    expect(error.message).toMatch(message)
    expect(error.code).toMatch(/^ERR_(INVALID_ARG_VALUE|OUT_OF_RANGE)$/)
  })

  test('an array of steps that contains itself', () => {
    const list: unknown[] = [chdir('/')]
    list.push([list])
    expect(() => call('true', { steps: list })).toThrow(/^steps\[1\]\[0\]: this array contains itself/)
  })

  test('an fd of a step that comes later, twice, or not at all', () => {
    const file = open('/etc/passwd')
    expect(() => call('true', { steps: [dup(file, 1), file] })).toThrow(/^steps\[0\]: uses the fd of a step/)
    expect(() => call('true', { steps: [dup(file, 1)] })).toThrow(/^steps\[0\]: uses the fd of a step/)
    expect(() => call('true', { steps: [file, chdir('/'), file] })).toThrow(
      /^steps\[2\]: this step already has its place/,
    )
    const many = Array.from({ length: 257 }, () => open('/etc/passwd'))
    expect(() => call('true', { steps: many.map((one) => [one, dup(one, 1)]) })).toThrow(
      /^steps: more than 256/,
    )
  })

  test('a list that the kernel would take, and that would not do what it says', () => {
    const steps =
      (...list: Step[]): (() => unknown) =>
      () =>
        call('true', { steps: list })
    expect(steps(setPdeathsig('SIGTERM'), setresuid(0))).toThrow(
      /^steps\[0\]: .*undone by steps\[1\], setresuid/,
    )
    expect(steps(setPdeathsig('SIGTERM'), chdir('/'), clone())).toThrow(
      /^steps\[0\]: .*undone by steps\[2\], clone/,
    )
    expect(() => call('true', { namespaces: ['pid'], steps: [clone()] })).toThrow(
      /^steps\[0\]: clone after namespaces/,
    )
  })

  const label = 'system_u:system_r:container_t:s0'
  const labels = [setexeccon, setfscreatecon, setkeycreatecon, setsockcreatecon, setcon].map((make) =>
    make(label),
  )
  const profiles = [aaChangeOnexec, aaChangeProfile].map((make) => make('unconfined'))

  function refuses(steps: Step[], hint: string): void {
    const marker = path('labelled')
    for (const step of steps) {
      expect(thrown(() => spawn('true', { steps: [writeFile(marker, ''), step] }))).toMatchObject({
        name: 'KernelError',
        code: 'EOPNOTSUPP',
        syscall: step.operation,
        hint: expect.stringContaining(hint) as unknown,
      })
      expect(existsSync(marker)).toBe(false)
    }
  }

  on({ lsm: ['none', 'apparmor'] }).test('labels where SELinux is off', () => {
    refuses(labels, 'SELinux is off')
    refuses([setexeccon(null), mount({ target: '/', type: 'tmpfs', context: label })], 'SELinux is off')
  })

  on({ lsm: ['none', 'selinux'] }).test('profiles where AppArmor is off', () => {
    refuses(profiles, 'AppArmor is off')
  })

  on({ lsm: 'selinux' }).test('setexeccon with what is no context', async () => {
    const error = await failure('true', [], { steps: [setexeccon('nonsense')] })
    expect(error).toMatchObject({ code: 'EINVAL', step: 0 })
  })
})
