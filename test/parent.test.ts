// What a spawn leaves of this process: everything as it was.
import { beforeAll, describe, expect, test } from '@jest/globals'
import { execFile, spawn as spawnNode } from 'node:child_process'
import { once } from 'node:events'
import { promises as fs, readdirSync, readFileSync, readlinkSync, watch } from 'node:fs'
import { promisify } from 'node:util'
import { cgroups, run, spawn, type SpawnOptions } from 'fancyproc'
import {
  chdir,
  clone,
  closeRange,
  makePrivate,
  mapUser,
  mount,
  prctl,
  setChildSubreaper,
  setgroups,
  sethostname,
  setName,
  setNoNewPrivs,
  setPdeathsig,
  setresgid,
  setresuid,
  setrlimit,
  setsid,
  sigaction,
  type Steps,
  umask,
  unshare,
  writeFile,
} from 'fancyproc/steps'
import { native } from '../lib/native.ts'
import { encode } from '../lib/plan.ts'
import { facts, on, scaled } from './support/machine.ts'
import { begun, blocked, scratch } from './support/scratch.ts'
import { leaks, type Leaks, parentState, settled } from './support/state.ts'

const directory = scratch()
const root = facts.user === 'root'
const rights = root ? {} : { userns: true }

/** Namespaces that this user may make, and what makes him root in them. */
function isolated(kinds: NonNullable<SpawnOptions['namespaces']>, ...steps: Steps[]): SpawnOptions {
  return root
    ? { namespaces: kinds, steps }
    : { namespaces: ['user', ...kinds], steps: [mapUser(), ...steps] }
}

/** What prctl(2) says of this process's memory and of this thread: dumpable, MDWE, THP, timer slack, subreaper. */
function asked(): number[] {
  const [PR_GET_DUMPABLE, PR_GET_KEEPCAPS, PR_GET_TIMERSLACK, PR_GET_THP_DISABLE, PR_GET_MDWE] = [
    3, 7, 30, 42, 66,
  ]
  return [PR_GET_DUMPABLE, PR_GET_KEEPCAPS, PR_GET_TIMERSLACK, PR_GET_THP_DISABLE, PR_GET_MDWE].map(
    (option) => native().call(encode({ steps: [prctl(option)] }).bytes)[0],
  )
}

/** Ids, masks and namespaces are a thread's own: those of each, by its id. */
function threads(tasks = readdirSync('/proc/self/task')): Record<string, unknown> {
  const own = tasks.map((task) => {
    const at = `/proc/self/task/${task}`
    const lines = readFileSync(`${at}/status`, 'latin1').split('\n')
    const status = lines.filter((line) =>
      /^(Umask|[UG]id|Groups|SigBlk|Cap...|NoNewPrivs|Seccomp):/.test(line),
    )
    const links = ['cwd', 'root', ...readdirSync(`${at}/ns`).map((name) => `ns/${name}`)]
    return [task, { status, links: links.map((name) => readlinkSync(`${at}/${name}`)) }]
  })
  return Object.fromEntries(own) as Record<string, unknown>
}

let baseline: Leaks
let first: Record<string, unknown>

beforeAll(async () => {
  first = { ...parentState(), asked: asked() }
  // What libuv opens and starts at first use stays.
  watch('/').close()
  await Promise.all(Array.from({ length: 32 }, () => Promise.all([run('true'), fs.stat('/')])))
  baseline = leaks()
})

async function untouchedBy(action: () => Promise<unknown>): Promise<void> {
  const before = { ...parentState(), asked: asked(), threads: threads() }
  await action()
  const after = { ...parentState(), asked: asked(), threads: threads(Object.keys(before.threads)) }
  expect(after).toEqual(before)
  expect(await settled(baseline)).toEqual(baseline)
}

const succeeds = (name: string, options: () => SpawnOptions, needs = {}): void => {
  on(needs).test(name, () =>
    untouchedBy(async () => {
      const child = spawn('true', [], options())
      expect(await child.exited).toMatchObject({ code: 0 })
      await child[Symbol.asyncDispose]()
    }),
  )
}

test('the first spawns have changed nothing for good', () => {
  expect({ ...parentState(), asked: asked() }).toEqual(first)
  const [dumpable, keepsCapabilities, , hugePagesOff] = asked()
  expect({ dumpable, keepsCapabilities, hugePagesOff }).toEqual({
    dumpable: 1,
    keepsCapabilities: 0,
    hugePagesOff: 0,
  })
})

describe('a spawn that succeeds', () => {
  succeeds('with pipes', () => ({}))
  succeeds('with more pipes', () => ({ stdio: ['pipe', 'pipe', 'pipe', 'pipe', 'ignore', 'pipe'] }))
  succeeds('without streams, detached', () => ({ stdio: 'ignore', detached: true }))
  succeeds('on a pty', () => ({ stdio: 'pty' }))
  succeeds('that changes what a process may change of itself', () => ({
    steps: [
      umask(0o077),
      chdir('/'),
      setsid(),
      setName('other'),
      setNoNewPrivs(),
      setChildSubreaper(),
      setPdeathsig('SIGTERM'),
      setrlimit('RLIMIT_NOFILE', 64),
      setrlimit('RLIMIT_CORE', 0),
      sigaction('SIGTERM', 'SIG_IGN'),
      closeRange(3),
    ],
  }))
  // In shared memory each of these would be Node's.
  succeeds('that changes its memory', () => ({
    steps: [
      writeFile('/proc/self/oom_score_adj', '500', { flags: [] }),
      writeFile('/proc/self/coredump_filter', '0', { flags: [] }),
      prctl('PR_SET_DUMPABLE', 0),
      prctl('PR_SET_THP_DISABLE', 1),
      prctl('PR_SET_TIMERSLACK', 1000),
    ],
  }))
  succeeds('that forbids itself writable code', () => ({ steps: [prctl(65, 1)] }), { kernel: '6.3' })
  succeeds('as another user', () => ({ steps: [setgroups([]), setresgid(12345), setresuid(12345)] }), {
    user: 'root',
  })
  succeeds('in a user namespace', () => ({ namespaces: ['user'], steps: mapUser() }), { userns: true })
  succeeds(
    'in namespaces of its own, with mounts and a name',
    () =>
      isolated(
        ['mnt', 'uts', 'ipc', 'net', 'pid', 'cgroup'],
        makePrivate('/', { recursive: true }),
        mount({ source: 'none', target: directory(), type: 'tmpfs' }),
        sethostname('elsewhere'),
        chdir(directory()),
      ),
    rights,
  )
  succeeds(
    'that unshares, and clones on the way',
    () => ({
      steps: [unshare(['user', 'mnt', 'pid']), mapUser(), clone(), makePrivate('/', { recursive: true })],
    }),
    { userns: true },
  )
  on({ user: 'root', cgroup: 'v2-any' }).test('into a cgroup', () =>
    untouchedBy(async () => {
      await using cgroup = await cgroups.create('parent')
      expect(await spawn('true', [], { cgroup }).exited).toMatchObject({ code: 0 })
    }),
  )
})

const fails = (name: string, code: string, options: () => SpawnOptions, needs = {}, file = 'true'): void => {
  on(needs).test(name, () =>
    untouchedBy(async () => {
      await expect(spawn(file, [], options()).exited).rejects.toMatchObject({ code })
    }),
  )
}

describe('a spawn that fails', () => {
  fails('for want of a program', 'ENOENT', () => ({}), {}, '/nowhere/to/be/found')
  fails('at a step', 'ENOENT', () => ({ steps: [umask(0), chdir('/'), chdir('/nowhere/to/be/found')] }))
  fails('at its last step, having changed its memory', 'ENOENT', () => ({
    steps: [prctl('PR_SET_DUMPABLE', 0), prctl('PR_SET_THP_DISABLE', 1), chdir('/nowhere/to/be/found')],
  }))
  fails('in clone3, forbidden', 'EPERM', () => ({ namespaces: ['net'] }), { user: 'ordinary' })
  fails('in clone3, with a pid that is taken', 'EEXIST', () => ({ setTid: [process.pid] }), { user: 'root' })
  fails(
    'as another user',
    'ENOENT',
    () => ({ steps: [setresgid(12345), setresuid(12345), chdir('/nowhere/to/be/found')] }),
    { user: 'root' },
  )
  fails(
    'in namespaces of its own',
    'ENOENT',
    () => isolated(['mnt', 'uts', 'pid'], sethostname('elsewhere'), chdir('/nowhere/to/be/found')),
    rights,
  )
  fails(
    'after a clone on the way',
    'ENOENT',
    () => ({ steps: [unshare('user'), mapUser(), clone('pid'), chdir('/nowhere/to/be/found')] }),
    { userns: true },
  )

  test('killed by another in the middle of its steps', () =>
    untouchedBy(async () => {
      const child = spawn('true', [], { steps: blocked(directory('killed')) })
      process.kill(await begun(child), 'SIGKILL')
      await expect(child.exited).rejects.toMatchObject({ signal: 'SIGKILL', step: 3 })
    }))

  test('for bad input', () =>
    untouchedBy(() => {
      expect(() => spawn('true', [], { stdio: ['pipe', 'pipe', 999_999] })).toThrow('stdio[2]')
      expect(() => spawn('', [])).toThrow('file')
      return Promise.resolve()
    }))
})

describe('beside node:child_process', () => {
  const node = promisify(execFile)

  test('nobody loses output or exit code', async () => {
    const numbers = Array.from({ length: scaled(60) }, (_, i) => i)
    const script = 'head -c 100000 /dev/zero | tr "\\0" x; echo "$0"; exit "$0"'
    const theirs = numbers.map(async (n) => {
      const failed = await node('sh', ['-c', script, String(n % 7)]).catch((error: unknown) => error)
      const { code = 0, stdout } = failed as { code?: number; stdout: string }
      return { code, length: stdout.length, last: stdout.at(-2) }
    })
    const ours = numbers.map(async (n) => {
      const { code, stdout } = await run('sh', ['-c', script, String(n % 7)])
      return { code, length: stdout.length, last: stdout.at(-2) }
    })
    const expected = numbers.map((n) => ({ code: n % 7, length: 100_002, last: String(n % 7) }))
    expect(await Promise.all(theirs)).toEqual(expected)
    expect(await Promise.all(ours)).toEqual(expected)
    expect(await settled(baseline)).toEqual(baseline)
  })

  test('neither reaps the other', async () => {
    const theirs = spawnNode('sleep', ['1000'], { stdio: 'ignore' })
    const ours = await spawn('sleep', ['1000'], { stdio: 'ignore' }).spawned
    await Promise.all(Array.from({ length: scaled(20) }, () => Promise.all([run('true'), node('true')])))
    expect([theirs.exitCode, theirs.signalCode, ours.exitCode, ours.signalCode]).toEqual([
      null,
      null,
      null,
      null,
    ])
    const ended = once(theirs, 'exit')
    theirs.kill('SIGINT')
    ours.kill('SIGHUP')
    expect(await ended).toEqual([null, 'SIGINT'])
    expect(await ours.exited).toMatchObject({ signal: 'SIGHUP' })
    expect(await settled(baseline)).toEqual(baseline)
  })

  test('what one of ours has on a pipe is not in theirs', async () => {
    const before = await node('ls', ['/proc/self/fd'])
    const ours = await spawn('sleep', ['1000']).spawned
    const { stdout } = await node('ls', ['/proc/self/fd'])
    await ours[Symbol.asyncDispose]()
    expect(stdout).toBe(before.stdout)
  })
})
