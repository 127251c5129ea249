// What does not compile, and at run time throws before anything has happened. That each line is an error to the
// compiler is checked by `tsc -p test`: an unused @ts-expect-error is one itself.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { existsSync } from 'node:fs'
import { type Process, run, spawn, type SpawnOptions, type Step as PublicStep } from 'fancyproc'
import {
  chdir,
  childFd,
  clone,
  close,
  closeRange,
  dup,
  type FdStep,
  ioctl,
  mapUser,
  mkdir,
  mknod,
  mount,
  open,
  openat2,
  prctl,
  readFile,
  readlink,
  remount,
  sendFd,
  setgroups,
  sethostname,
  setns,
  setPdeathsig,
  setresuid,
  setrlimit,
  sigaction,
  statfs,
  type Step,
  umask,
  umount2,
  uidMap,
  unshare,
  writeFile,
} from 'fancyproc/steps'
import { scratch } from './support/scratch.ts'
import { type Leaks, leaks, settled } from './support/state.ts'

const path = scratch()
const first = (): Step => writeFile(path('marker'), '')

let before: Leaks
beforeAll(async () => {
  await run('true')
  before = leaks()
})
afterAll(async () => {
  expect(await settled(before)).toEqual(before)
  expect(existsSync(path('marker'))).toBe(false)
})

type Case = [what: string, wrong: () => unknown, message: RegExp]

function refuses(cases: Case[]): void {
  test.each(cases)('%s', (_what, wrong, message) => {
    let error: unknown
    try {
      wrong()
    } catch (thrown) {
      error = thrown
    }
    // A number out of its range is a RangeError, as in Node.
    expect(error instanceof TypeError || error instanceof RangeError).toBe(true)
    expect((error as Error).message).toMatch(message)
  })
}

describe('spawn', () => {
  // prettier-ignore
  refuses([
    // @ts-expect-error a misspelt option
    ['an option', () => spawn('true', { step: [first()] }), /^options\.step: no such option/],
    // @ts-expect-error a misspelt namespace
    ['a namespace', () => spawn('true', { namespaces: ['nett'], steps: [first()] }), /^namespaces\[0\]: .*"nett"/],
    // @ts-expect-error flags are for steps
    ['a number as namespace', () => spawn('true', { namespaces: [0x200], steps: [first()] }), /^namespaces.*0x200/],
    // @ts-expect-error it is not a step
    ['a step', () => spawn('true', { steps: [first(), 'chdir'] }), /^steps\[1\]: expected a step/],
    // @ts-expect-error it was not called
    ['a step that is a function', () => spawn('true', { steps: [first(), umask] }), /^steps\[1\]: .*a function/],
    // @ts-expect-error not an array
    ['steps', () => spawn('true', { steps: first() }), /^steps: expected an array/],
    // @ts-expect-error it looks like a step, and is none
    ['a step by its looks', () => spawn('true', { steps: [{ operation: 'chdir', args: ['/'] }] }), /^steps\[0\]: /],
    // @ts-expect-error its place among the steps matters
    ['cwd', () => spawn('true', { cwd: '/', steps: [first()] }), /^options\.cwd: .*chdir/],
    // @ts-expect-error its place among the steps matters
    ['uid', () => spawn('true', { uid: 0, steps: [first()] }), /^options\.uid: .*setresuid/],
    // @ts-expect-error a misspelt kind
    ['stdio', () => spawn('true', { stdio: ['pipes'], steps: [first()] }), /^stdio\[0\]: expected/],
    // @ts-expect-error 'pty' is for all three
    ['a pty in a list', () => spawn('true', { stdio: ['pty'], steps: [first()] }), /^stdio\[0\]: a pty is for/],
    // @ts-expect-error a string's value
    ['env', () => spawn('true', { env: { A: 1 }, steps: [first()] }), /^env\.A: expected a string/],
    // @ts-expect-error a misspelt signal
    ['killSignal', () => spawn('true', { killSignal: 'SIGTREM', steps: [first()] }), /^killSignal: no signal/],
    // @ts-expect-error milliseconds
    ['timeout', () => spawn('true', { timeout: '1s', steps: [first()] }), /^timeout: expected/],
    // @ts-expect-error strings only
    ['args', () => spawn('true', [1], { steps: [first()] }), /^args\[0\]: expected a string/],
    // @ts-expect-error a misspelt side
    ['pty', () => spawn('true', { stdio: 'pty', pty: { cols: 1 }, steps: [first()] }), /^pty\.cols: no such/],
    // @ts-expect-error a cgroup is no number of bytes
    ['cgroup', () => spawn('true', { cgroup: true, steps: [first()] }), /^cgroup: expected/],
    // @ts-expect-error a file is a string
    ['file', () => spawn(['true']), /^file: expected a string/],
  ])

  test('kill', async () => {
    await using child = await spawn('sleep', ['1000']).spawned
    // @ts-expect-error a misspelt signal
    expect(() => child.kill('SIGTREM')).toThrow(/^signal: no signal/)
  })

  test('run', async () => {
    // @ts-expect-error no encoding
    await expect(run('true', [], { encoding: 'utf-9' })).rejects.toThrow(/^encoding: /)
    // @ts-expect-error no such option
    await expect(run('true', [], { inptu: '' })).rejects.toThrow(/^options\.inptu: no such option/)
  })
})

describe('steps', () => {
  const file = open('/')
  // prettier-ignore
  refuses([
    // @ts-expect-error no such flag
    ['a flag', () => mount({ target: '/', flags: ['MS_PRIVAT'] }), /^mount: flags\[0\]: no flag "MS_PRIVAT"/],
    // @ts-expect-error no such option
    ['an option', () => mount({ target: '/', fstype: 'tmpfs' }), /^mount: fstype: no such option/],
    // @ts-expect-error the target is missing
    ['what is missing', () => mount({ type: 'tmpfs' }), /^mount: target: expected a string/],
    // @ts-expect-error a flag of another call
    ['a flag of another call', () => umount2('/', 'MS_REC'), /^umount2: flags: no flag/],
    // @ts-expect-error no such flag
    ['a remount', () => remount('/', 'RDONLY'), /^remount: flags: no flag/],
    // @ts-expect-error a path is a string
    ['a path', () => chdir(7), /^chdir: path: expected a string/],
    // @ts-expect-error no such flag
    ['an open', () => open('/', 'r'), /^openat: flags: no flag "r"/],
    // @ts-expect-error no such flag
    ['a resolve', () => openat2('/', { resolve: 'IN_ROOT' }), /^openat2: resolve: no flag/],
    // @ts-expect-error no such option
    ['an openat2', () => openat2('/', { mask: 1 }), /^openat2: mask: no such option/],
    // @ts-expect-error modes are numbers
    ['a mode', () => mkdir('/x', '755'), /^mkdirat: mode: expected a number/],
    // @ts-expect-error errnos are names
    ['an errno to ignore', () => mkdir('/x', 0o755, { ignore: [17] }), /^mkdirat: ignore: no errno/],
    // @ts-expect-error no such name
    ['a kind of node', () => mknod('/x', 0o600, 'FIFO'), /^mknodat: type: no "FIFO"/],
    // @ts-expect-error text or bytes
    ['data', () => writeFile('/x', 7), /^writeFile: data: expected/],
    // @ts-expect-error a number of bytes
    ['a limit of bytes', () => readFile('a', '/', { most: '1M' }), /^readFile: most: expected a number/],
    // @ts-expect-error no such option
    ['a link', () => readlink('a', '/', { most: 1 }), /^readlinkat: most: no such option/],
    // @ts-expect-error a path is expected
    ['a filesystem', () => statfs('a'), /^statfs: path: expected a string/],
    // @ts-expect-error no such namespace
    ['a namespace', () => unshare('mount'), /^unshare: namespaces: no flag "mount"/],
    // @ts-expect-error CLONE_FS is no namespace
    ['what is no namespace', () => clone('fs'), /^clone: namespaces: no flag "fs"/],
    // @ts-expect-error an fd is expected
    ['an fd', () => setns('/proc/self/ns/net'), /^setns: fd: expected an fd/],
    // @ts-expect-error a step that opens nothing
    ['a step as an fd', () => dup(chdir('/'), 1), /^dup3: oldfd: this step gives no fd/],
    // @ts-expect-error a number is expected
    ['a target', () => dup(file, '1'), /^dup3: newfd: expected a number/],
    // @ts-expect-error a number is expected
    ['a descriptor', () => childFd('0'), /^childFd: number: expected a number/],
    // @ts-expect-error one of the caller's own is nothing to close
    ['an fd to close', () => close({ fd: 1 }), /^close: fd: expected/],
    // @ts-expect-error no such flag
    ['a range', () => closeRange(3, 4, 'CLOEXEC'), /^close_range: flags: no flag/],
    // @ts-expect-error a name comes first
    ['what to send', () => sendFd(file), /^sendFd: name: expected a string/],
    // @ts-expect-error a number, or null
    ['an id', () => setresuid('root'), /^setresuid: ruid: expected a number/],
    // @ts-expect-error a list is expected
    ['groups', () => setgroups(5), /^setgroups: list: expected an array/],
    // @ts-expect-error a misspelt property
    ['a map', () => uidMap({ inside: 0, outside: 0, size: 1 }), /^uid_map: ranges\.size: no such property/],
    // @ts-expect-error no such option
    ['one’s own ids', () => mapUser({ user: 0 }), /^mapUser: user: no such option/],
    // @ts-expect-error no such prctl
    ['a prctl', () => prctl('PR_SET_NO_NEW_PRIV', 1), /^prctl: op: no "PR_SET_NO_NEW_PRIV"/],
    // @ts-expect-error no such signal
    ['a death signal', () => setPdeathsig('KILL'), /^(setPdeathsig|prctl): .*no "KILL"/],
    // @ts-expect-error no disposition
    ['a disposition', () => sigaction('SIGPIPE', 'ignore'), /^sigaction: act: expected 'SIG_DFL'/],
    // @ts-expect-error no such resource
    ['a resource', () => setrlimit('NOFILE', 1), /^setrlimit: resource: no "NOFILE"/],
    // @ts-expect-error no such limit
    ['a limit', () => setrlimit('RLIMIT_NOFILE', 'unlimited'), /^setrlimit: soft: expected/],
    // @ts-expect-error no such request
    ['a request', () => ioctl(childFd(0), 'TIOCSWINSIZE'), /^ioctl: op: no "TIOCSWINSIZE"/],
    // @ts-expect-error a text is expected
    ['a hostname', () => sethostname(null), /^sethostname: name: expected a string/],
  ])
})

/** What has to compile; it is not run. */
export function compiles(options: SpawnOptions, child: Process): Step[] {
  const steps: readonly (PublicStep | readonly PublicStep[])[] = [chdir('/'), [chdir('/'), ...mapUser()]]
  const file: FdStep = open('/', ['O_PATH', 0o1000])
  const flags = mount({ target: '/', flags: ['MS_REC', 0x1n, 4] })
  child.kill(15)
  child.once('exit', (code: number | null, signal: NodeJS.Signals | null) => [code, signal])
  // @ts-expect-error an event that there is not
  child.once('exitt', () => undefined)
  // @ts-expect-error what a namespace is called
  options.namespaces = ['network']
  // @ts-expect-error steps are values: nothing can be changed about one
  flags.path = '/other'
  spawn('true', {
    steps: [steps, file, flags],
    stdio: ['pipe', process.stdout, child.stdio[3], null, undefined, 7, 'inherit'],
  })
  return [file, flags]
}
