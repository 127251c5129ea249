// Steps elsewhere, that bring something back: descriptors, bytes, errors, and no process.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { closeSync, mkdirSync, openSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { Fd, inNamespaces, joinSteps, type Process, spawn } from 'fancyproc'
import {
  chdir,
  mapUser,
  mkdir,
  mknod,
  mount,
  open,
  parseStatfs,
  procfs,
  readFile,
  readlink,
  sendFd,
  sethostname,
  setns,
  statfs,
} from 'fancyproc/steps'
import { perform } from '../lib/perform.ts'
import { isolated, rights } from './support/isolated.ts'
import { facts, on, patient, scaled } from './support/machine.ts'
import { namespace } from './support/proc.ts'
import { scratch } from './support/scratch.ts'
import { leaks, settled } from './support/state.ts'

const path = scratch()
const root = facts.user === 'root'
const kinds = ['mnt', 'uts', 'ipc', 'pid', 'net', 'cgroup'] as const

/** A namespace of the child that asks. */
const own = (kind: string): ReturnType<typeof readlink> =>
  readlink(kind, `self/ns/${kind}`, { dirfd: procfs })

describe('here', () => {
  test('steps run, and what they open and read comes back', async () => {
    const file = path('file')
    writeFileSync(file, 'some text')
    const opened = open(file)
    const results = await perform([
      opened,
      sendFd('opened', opened),
      readFile('text', file),
      readFile('empty', '/dev/null'),
      readlink('link', 'self/exe', { dirfd: procfs }),
      statfs('proc', '/proc'),
      readFile('mounts', 'self/mountinfo', { dirfd: procfs }),
    ])
    const { fds, data } = results
    expect(readFileSync(fds['opened']!.fd, 'utf8')).toBe('some text')
    expect(data['text']?.toString()).toBe('some text')
    expect(data['empty']).toHaveLength(0)
    expect(data['link']?.toString()).toMatch(/memfd:fancyproc:helper|fancyproc-helper$/)
    expect(parseStatfs(data['proc']!)).toMatchObject({ type: 0x9fa0n, namelen: 255n })
    expect(data['mounts']?.toString()).toBe(readFileSync('/proc/self/mountinfo', 'utf8'))
    results[Symbol.dispose]()
    expect(fds['opened']?.closed).toBe(true)
  })

  test('a file as long as there is room for, and one byte longer', async () => {
    const file = path('bytes')
    writeFileSync(file, Buffer.alloc(70_000, 'x'))
    const { data } = await perform([readFile('all', file, { most: 70_000 })])
    expect(data['all']?.equals(readFileSync(file))).toBe(true)
    await expect(perform([readFile('all', file, { most: 69_999 })])).rejects.toMatchObject({
      code: 'EFBIG',
      syscall: 'read',
      step: 0,
      path: file,
      hint: 'it has more than 69999 bytes: say how many with `most`',
    })
    await expect(perform([readFile('endless', '/dev/zero')])).rejects.toMatchObject({ code: 'EFBIG' })
  })

  test('a program can follow', async () => {
    const child = await spawn('true', [], { steps: [readFile('comm', 'self/comm', { dirfd: procfs })] })
      .spawned
    expect(child.data['comm']?.toString()).toMatch(/^(memfd:)?fancyproc|^\d+$/m)
    await child.exited
  })

  test('nothing to do is done', async () => {
    expect(await perform([])).toMatchObject({ fds: {}, data: {} })
  })
})

on(rights).describe('in the namespaces of a process', () => {
  let victim: Process
  beforeAll(async () => {
    const options = isolated(
      kinds,
      sethostname('inside'),
      mount({ source: 'none', target: '/tmp', type: 'tmpfs' }),
    )
    victim = await spawn('sleep', ['1000'], { stdio: 'ignore', ...options }).spawned
  })
  afterAll(() => victim[Symbol.asyncDispose]())

  test('by its pid, its pidfd or its handle: all those that it does not share with us', async () => {
    const expected = kinds.map((kind) => namespace(victim.pid, kind))
    for (const target of [victim.pid!, victim.pidfd!, victim]) {
      const { data } = await inNamespaces(target, kinds.map(own))
      expect(kinds.map((kind) => data[kind]?.toString())).toEqual(expected)
    }
  })

  test('some of them only', async () => {
    const { data } = await inNamespaces({ target: victim, namespaces: ['user', 'uts'] }, [
      own('uts'),
      own('net'),
    ])
    expect(data['uts']?.toString()).toBe(namespace(victim.pid, 'uts'))
    expect(data['net']?.toString()).toBe(namespace('self', 'net'))
  })

  test('its own, as if it were another’s', async () => {
    const { data } = await inNamespaces(process.pid, [own('uts'), own('user')])
    expect(data['user']?.toString()).toBe(namespace('self', 'user'))
    using none = joinSteps(process.pid)
    expect(none.enter).toEqual([])
  })

  test('a directory of its mount namespace works here', async () => {
    const directory = open('/tmp', ['O_PATH', 'O_DIRECTORY'])
    const steps = [mkdir('/tmp/only there'), directory, sendFd('tmp', directory), statfs('tmp', '/tmp')]
    const results = await inNamespaces(victim, steps)
    const there = `/proc/self/fd/${String(results.fds['tmp']!.fd)}`
    mkdirSync(`${there}/made here`)
    const again = await inNamespaces(victim, [chdir('/tmp/made here')])
    expect(parseStatfs(results.data['tmp']!).type).toBe(0x0102_1994n)
    expect(again.fds).toEqual({})
    results[Symbol.dispose]()
  })

  test('namespaces one by one: by fds, a pidfd, and where one is pinned', async () => {
    const fds = ['user', 'net'].map((kind) => openSync(`/proc/${String(victim.pid)}/ns/${kind}`, 'r'))
    const [user = -1, net = -1] = fds
    const target = root
      ? { net, uts: victim.pidfd!, ipc: `/proc/${String(victim.pid)}/ns/ipc` }
      : { user, net }
    const { data } = await inNamespaces(target, [own('net'), own('uts'), own('ipc')])
    expect(data['net']?.toString()).toBe(namespace(victim.pid, 'net'))
    expect(data['uts']?.toString()).toBe(namespace(root ? victim.pid : 'self', 'uts'))
    expect(data['ipc']?.toString()).toBe(namespace(root ? victim.pid : 'self', 'ipc'))
    if (root) {
      using owned = new Fd(net)
      expect((await inNamespaces(owned, [own('net')])).data).toEqual({ net: data['net'] })
    }
    fds.slice(0, root ? 1 : 2).forEach(closeSync)
  })

  test('a step that fails is named as it was written, and nothing is left', async () => {
    const before = leaks()
    const file = open('/proc/sys/kernel/hostname')
    const steps = [file, sendFd('hostname', file), readFile('nothing', '/no/where')]
    await expect(inNamespaces(victim, steps)).rejects.toMatchObject({
      name: 'KernelError',
      code: 'ENOENT',
      syscall: 'openat',
      step: 2,
      path: '/no/where',
      dest: 'nothing',
    })
    expect(await settled(before)).toEqual(before)
  })

  test('given up, by a signal or by the time: nothing is left', async () => {
    const before = leaks()
    const fifo = path('fifo')
    const wait = [mknod(fifo, 0o600, 'S_IFIFO', { ignore: ['EEXIST'] }), open(fifo)]
    await expect(perform([...wait], { signal: AbortSignal.abort('why') })).rejects.toMatchObject({
      code: 'ABORT_ERR',
      cause: 'why',
    })
    const controller = new AbortController()
    const aborted = perform([...wait], { signal: controller.signal })
    setTimeout(() => {
      controller.abort()
    }, patient(20))
    await expect(aborted).rejects.toMatchObject({ name: 'AbortError' })
    const late = inNamespaces(process.pid, wait, { timeout: patient(20) })
    await expect(late).rejects.toMatchObject({ code: 'ABORT_ERR', cause: { name: 'TimeoutError' } })
    expect(await settled(before)).toEqual(before)
  })

  test('many at once', async () => {
    const before = leaks()
    const all = Array.from({ length: scaled(100) }, () =>
      inNamespaces(victim, [readFile('name', '/proc/sys/kernel/hostname')]),
    )
    for (const { data } of await Promise.all(all)) expect(data['name']?.toString()).toBe('inside\n')
    expect(await settled(before)).toEqual(before)
  })
})

on(rights).test('new namespaces are held by their descriptors alone', async () => {
  const before = leaks()
  const CLONE_NEWUSER = 0x1000_0000
  const CLONE_NEWUTS = 0x400_0000
  const uts = open('self/ns/uts', 'O_RDONLY', undefined, { dirfd: procfs })
  const user = open('self/ns/user', 'O_RDONLY', undefined, { dirfd: procfs })
  const made = await perform(
    [mapUser(), sethostname('nobody there'), [user, sendFd('user', user)], [uts, sendFd('uts', uts)]].flat(),
    { flags: CLONE_NEWUSER | CLONE_NEWUTS },
  )
  expect(readlinkSync(`/proc/self/fd/${String(made.fds['uts']!.fd)}`)).toMatch(/^uts:\[\d+\]$/)
  const { data } = await inNamespaces(made.fds, [readFile('name', '/proc/sys/kernel/hostname')])
  expect(data['name']?.toString()).toBe('nobody there\n')
  made[Symbol.dispose]()
  expect(await settled(before)).toEqual(before)
})

describe('what cannot be joined', () => {
  test('who has ended: ESRCH', async () => {
    await using child = await spawn('sleep', ['1000'], { stdio: 'ignore' }).spawned
    const { pid, pidfd } = child
    const copy = pidfd!.dup()
    child.kill('SIGKILL')
    await child.exited
    for (const target of [pid!, copy, child]) {
      await expect(inNamespaces(target, [])).rejects.toMatchObject({ code: 'ESRCH', syscall: 'pidfd_open' })
    }
    copy.close()
  })

  test('a zombie: ESRCH', async () => {
    const child = spawn('sh', ['-c', 'sleep 0.2 & echo $!; exec sleep 1000'])
    const pid = Number(await new Promise((resolve) => child.stdout!.once('data', resolve)))
    while (!/\) Z /.test(readFileSync(`/proc/${String(pid)}/stat`, 'latin1'))) await new Promise(setImmediate)
    await expect(inNamespaces(pid, [])).rejects.toMatchObject({ code: 'ESRCH' })
    await child[Symbol.asyncDispose]()
  })

  on({ user: 'ordinary' }).test('of another user: EACCES, and why', async () => {
    await expect(inNamespaces(1, [])).rejects.toMatchObject({
      code: 'EACCES',
      path: expect.stringMatching(/^\/proc\/1\/ns\//),
      hint: expect.stringContaining('CAP_SYS_PTRACE'),
    })
  })

  on({ user: 'ordinary', userns: true }).test('without privilege: EPERM, and what to do', async () => {
    await using child = await spawn('sleep', ['1000'], { stdio: 'ignore', ...isolated(['net']) }).spawned
    const wrong = inNamespaces({ target: child, namespaces: ['net'] }, [])
    await expect(wrong).rejects.toMatchObject({
      code: 'EPERM',
      syscall: 'setns',
      hint: expect.stringContaining("'user'"),
    })
    await expect(wrong).rejects.not.toHaveProperty('step')
  })

  const file = openSync('/', 'r')
  const cases: [string, unknown, RegExp][] = [
    ['a name', 'net', /^join: expected a pid/],
    ['nothing', null, /^join: expected/],
    ['a list', [], /^join: expected/],
    ['no namespace', {}, /^join: no namespaces/],
    ['an unknown kind', { network: 3 }, /^join\.network: no such namespace; known are time, mnt/],
    ['a pid of 0', 0, /^join: no pid: 0/],
    ['a fraction', 1.5, /^join: no pid: 1\.5/],
    ['a directory', { fd: file }, /^join: what kind of namespace \/ is has to be said/],
    ['no fd', { net: true }, /^join\.net: expected an fd or a path/],
    ['a closed fd', { net: 1_000_000 }, /^join\.net: fd 1000000 is not open/],
    ['an empty path', { net: '' }, /^join\.net: no path/],
    ['a list for fds', { target: { net: file }, namespaces: ['net'] }, /^join\.namespaces: is for a process/],
    ['an unknown in the list', { target: 1, namespaces: ['nets'] }, /^join\.namespaces\[0\]: no flag "nets"/],
    ['no list', { target: 1, namespaces: 'net' }, /^join\.namespaces: expected an array/],
  ]
  test.each(cases)('%s', async (_, target, message) => {
    await expect(inNamespaces(target as number, [])).rejects.toThrow(message)
  })

  test('one kind given for another', async () => {
    const net = openSync('/proc/self/ns/net', 'r')
    await expect(inNamespaces({ uts: net }, [])).rejects.toThrow('join.uts: this is a namespace of kind net')
    closeSync(net)
  })

  test('what is no namespace: EINVAL', async () => {
    await expect(inNamespaces({ net: '/dev/null' }, [])).rejects.toMatchObject({
      code: 'EINVAL',
      syscall: 'open',
    })
    await expect(inNamespaces({ net: '/no/where' }, [])).rejects.toMatchObject({
      code: 'ENOENT',
      path: '/no/where',
    })
  })

  test('bad options and steps', async () => {
    const loose = inNamespaces as (...args: unknown[]) => Promise<unknown>
    await expect(loose(process.pid, [], { timeout: -1 })).rejects.toThrow(/^timeout: expected milliseconds/)
    await expect(loose(process.pid, [], { signal: 5 })).rejects.toThrow(/^signal: expected an AbortSignal/)
    await expect(loose(process.pid, [], { wait: 5 })).rejects.toThrow(/^wait: no such option/)
    await expect(loose(process.pid, [], null)).rejects.toThrow(/^options: expected an object/)
    await expect(loose(process.pid, 'ls')).rejects.toThrow(/^steps: expected an array/)
    await expect(loose(process.pid, [setns(1_000_000)])).rejects.toThrow(
      /^steps\[0\]: fd 1000000 is not open/,
    )
  })
})
