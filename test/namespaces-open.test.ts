// namespaces.open(), what an open one tells, pin() and unpin().
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { closeSync, fstatSync, openSync, readdirSync, writeFileSync } from 'node:fs'
import { Fd, type Namespace, type NamespaceFd, namespaces, type Process, run, spawn } from 'fancyproc'
import { chdir, makePrivate, mapUser, mknod, namespaces as kinds, setns, type Steps } from 'fancyproc/steps'
import { root as checkout, script } from './support/fork.ts'
import { isolated, rights } from './support/isolated.ts'
import { facts, on } from './support/machine.ts'
import { namespace, status } from './support/proc.ts'
import { scratch } from './support/scratch.ts'
import { leaks, type Leaks, settled } from './support/state.ts'

const path = scratch()
let started: Process[] = []
let before: Leaks

beforeAll(async () => {
  await using child = spawn('true', [], { stdio: 'ignore' })
  await child.exited
  await namespaces()
  before = leaks()
})
afterEach(async () => {
  for (const child of started.splice(0)) await child[Symbol.asyncDispose]()
  expect(await settled(before)).toEqual(before)
})
afterAll(() => {
  started = []
})

async function sleeper(list: readonly Namespace[], ...steps: Steps[]): Promise<Process> {
  const child = await spawn('sleep', ['1000'], isolated(list, ...steps)).spawned
  started.push(child)
  return child
}

const linkOf = (fd: NamespaceFd): string => `${fd.kind}:[${String(fd.inode)}]`

describe('open', () => {
  on(rights).test('by pid, pidfd, handle, path, or a descriptor of it: each the same', async () => {
    const child = await sleeper([...kinds])
    for (const kind of kinds) {
      const expected = namespace(child.pid, kind)
      using byPid = namespaces.open(child.pid!, kind)
      using byPidfd = namespaces.open(child.pidfd!, kind)
      using byHandle = namespaces.open(child, kind)
      using byPath = namespaces.open(`/proc/${String(child.pid)}/ns/${kind}`)
      using again = namespaces.open(byPath)
      const all = [byPid, byPidfd, byHandle, byPath, again]
      expect(all.map(linkOf)).toEqual(all.map(() => expected))
      expect(new Set(all.map(({ fd }) => fd)).size).toBe(all.length)
    }
  })

  on({ ...rights, kernel: '6.9' }).test("by pid and its pidfd's inode", async () => {
    const child = await sleeper(['uts'])
    const { ino } = fstatSync(child.pidfd!.fd)
    using uts = namespaces.open(`${String(child.pid)}:${String(ino)}`, 'uts')
    expect(linkOf(uts)).toBe(namespace(child.pid, 'uts'))
    // The process that had this pid before, or will have it.
    expect(() => namespaces.open(`${String(child.pid)}:${String(ino + 1)}`, 'uts')).toThrow(
      expect.objectContaining({ code: 'ESRCH', hint: expect.stringContaining('another one') as unknown }),
    )
  })

  on(rights).test('it outlives the process, and can be joined', async () => {
    const child = await spawn('sleep', ['1000'], isolated(['uts'])).spawned
    const inode = namespace(child.pid, 'uts')
    using uts = namespaces.open(child, 'uts')
    using user = namespaces.open(child, 'user')
    await child[Symbol.asyncDispose]()
    const steps = [facts.user === 'root' ? [] : setns(user), setns(uts, 'uts')]
    const { stdout } = await run('readlink', ['/proc/self/ns/uts'], { steps })
    expect(stdout.trim()).toBe(inode)
  })

  test('of a process that has ended, or is a thread, or never was', async () => {
    const child = await spawn('sleep', ['1000']).spawned
    const { pid = 0 } = child
    using pidfd = child.pidfd!.dup()
    await child[Symbol.asyncDispose]()
    for (const target of [pid, pidfd, child]) {
      expect(() => namespaces.open(target, 'net')).toThrow(expect.objectContaining({ code: 'ESRCH' }))
    }
  })

  test('of what is no namespace, or one of another kind', () => {
    using own = namespaces.open('/proc/self/ns/uts')
    const error = (code: string): unknown => expect.objectContaining({ name: 'KernelError', code })
    expect(() => namespaces.open('/etc/passwd')).toThrow(error('EINVAL'))
    expect(() => namespaces.open('/proc/self/ns/uts', 'net')).toThrow(error('EINVAL'))
    expect(() => namespaces.open(own, 'net')).toThrow(error('EINVAL'))
    expect(() => namespaces.open(path('nothing'))).toThrow(error('ENOENT'))
    const file = openSync('/etc/passwd', 'r')
    expect(() => namespaces.open({ fd: file })).toThrow(error('ENOTTY'))
    closeSync(file)
  })

  test('a FIFO is not waited for', async () => {
    await run('true', [], { steps: [mknod(path('fifo'), 0o600, 'S_IFIFO')] })
    expect(() => namespaces.open(path('fifo'))).toThrow(expect.objectContaining({ code: 'EINVAL' }))
  })

  on({ user: 'ordinary' }).test("another user's", () => {
    expect(() => namespaces.open(1, 'net')).toThrow(
      expect.objectContaining({ code: 'EACCES', hint: expect.stringContaining('CAP_SYS_PTRACE') as unknown }),
    )
  })

  test('bad arguments', () => {
    const open = namespaces.open as (...args: unknown[]) => unknown
    expect(() => open(process.pid)).toThrow('open: kind: which of its namespaces?')
    expect(() => open(process.pid, 'pdi')).toThrow('open: kind')
    expect(() => open(0, 'net')).toThrow('open: target')
    expect(() => open(undefined, 'net')).toThrow('open: target')
    expect(() => open('', 'net')).toThrow('open: target')
    using closed = namespaces.open('/proc/self/ns/uts')
    closed.close()
    expect(() => open(closed)).toThrow('this fd is closed')
    expect(() => closed.owner()).toThrow(expect.objectContaining({ code: 'EBADF' }))
  })
})

describe('an open namespace', () => {
  on({ userns: true }).test('knows its owner, its parent, and who made it', async () => {
    const steps = [mapUser()]
    const child = await spawn('sleep', ['1000'], { namespaces: ['user', 'pid', 'net'], steps }).spawned
    started.push(child)
    using net = namespaces.open(child, 'net')
    using pid = namespaces.open(child, 'pid')
    using user = net.owner()
    expect(linkOf(user)).toBe(namespace(child.pid, 'user'))
    using outerPid = pid.parent()
    using outerUser = user.parent()
    expect(linkOf(outerPid)).toBe(namespace('self', 'pid'))
    expect(linkOf(outerUser)).toBe(namespace('self', 'user'))
    expect(user.uid).toBe(process.getuid!())
    expect(() => net.parent()).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    expect(() => net.uid).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    using copy = net.dup()
    expect([copy.kind, copy.inode]).toEqual([net.kind, net.inode])
  })

  on({ kernel: '6.18' }).test('has an id that listing it shows, too', async () => {
    using net = namespaces.open('/proc/self/ns/net')
    const [row] = (await namespaces({ kinds: 'net' })).filter(({ inode }) => inode === net.inode)
    expect(typeof net.id).toBe('bigint')
    expect(row?.id).toBe(net.id)
  })

  on({ ...rights, kernel: '6.11' }).test('translates pids', async () => {
    const child = await sleeper(['pid'])
    using pid = namespaces.open(child, 'pid')
    const inner = Number(status(child.pid, 'NSpid').split('\t').at(-1))
    expect(pid.pidInside(child.pid!)).toBe(inner)
    expect(pid.pidOutside(inner)).toBe(child.pid)
    expect(() => pid.pidInside(process.pid)).toThrow(expect.objectContaining({ code: 'ESRCH' }))
    expect(() => pid.pidInside(0)).toThrow('pidInside: pid')
  })
})

/** In a mount namespace of its own: there is nothing to take away afterwards. */
async function inPrivate(text: string): Promise<unknown> {
  const steps = [makePrivate('/', { recursive: true }), chdir(checkout)]
  const { stdout, stderr } = await run(
    process.execPath,
    script(`import { namespaces } from 'fancyproc'; ${text}`),
    {
      ...isolated(['mnt'], steps),
      env: process.env,
    },
  )
  expect(stderr).toBe('')
  return JSON.parse(stdout)
}

describe('pin', () => {
  on(rights).test('keeps it alive by a file, until unpin', async () => {
    const child = await sleeper(['uts', 'net'])
    const text = `
      import { existsSync } from 'node:fs'
      const path = ${JSON.stringify(path('pinned'))}
      const uts = namespaces.open('/proc/self/ns/uts')
      namespaces.pin(uts, path)
      uts.close()
      const held = namespaces.open(path)
      const listed = (await namespaces()).find(({ inode }) => inode === held.inode)
      held.close()
      let error
      try { namespaces.pin({ fd: 0 }, path + '2') } catch ({ code }) { error = code }
      let again
      try { using uts = namespaces.open('/proc/self/ns/uts'); namespaces.pin(uts, path) } catch ({ code }) { again = code }
      namespaces.unpin(path)
      let gone
      try { namespaces.unpin(path) } catch ({ code, path }) { gone = code }
      console.log(JSON.stringify([held.inode, listed?.mounts.map(({ path }) => path), error, again, gone, existsSync(path)]))`
    const own = Number(/\d+/.exec(namespace('self', 'uts'))?.[0])
    expect(await inPrivate(text.replaceAll('using uts', 'const uts'))).toEqual([
      own,
      [path('pinned')],
      expect.stringMatching(/^(ENOTTY|EINVAL)$/),
      'EEXIST',
      'ENOENT',
      false,
    ])
    expect(readdirSync(path())).not.toContain('pinned2')
    expect(child.pid).toBeDefined()
  })

  on(rights).test('a mount namespace in itself: EINVAL, a hint, and no file', async () => {
    const text = `
      using own = namespaces.open('/proc/self/ns/mnt')
      try { namespaces.pin(own, ${JSON.stringify(path('itself'))}) } catch ({ code, hint, dest }) { console.log(JSON.stringify([code, hint, dest])) }
      own.close()`
    expect(await inPrivate(text.replace('using', 'const'))).toEqual([
      'EINVAL',
      expect.stringContaining('cannot be pinned in itself'),
      path('itself'),
    ])
    expect(readdirSync(path())).not.toContain('itself')
  })

  // Linux 6.18 hands ids out to each CPU by the thousand, and takes the higher one for the younger.
  on(rights).test('a younger mount namespace', async () => {
    const text = `
      import { spawn } from 'fancyproc'
      const own = namespaces.open('/proc/self/ns/mnt')
      const older = (mnt) => (mnt.id ?? 1n) < (own.id ?? 0n)
      let child, mnt
      for (let i = 0; i < 100 && (i === 0 || older(mnt)); i++) {
        mnt?.close()
        await child?.[Symbol.asyncDispose]()
        child = await spawn('sleep', ['1000'], { namespaces: ['mnt'] }).spawned
        mnt = namespaces.open(child, 'mnt')
      }
      const path = ${JSON.stringify(path('younger'))}
      namespaces.pin(mnt, path)
      const pinned = namespaces.open(path)
      console.log(JSON.stringify([pinned.kind, pinned.inode === mnt.inode]))
      for (const fd of [own, mnt, pinned]) fd.close()
      namespaces.unpin(path)
      await child[Symbol.asyncDispose]()`
    expect(await inPrivate(text)).toEqual(['mnt', true])
  })

  on({ user: 'ordinary' }).test('takes CAP_SYS_ADMIN, and leaves no file', () => {
    using uts = namespaces.open('/proc/self/ns/uts')
    expect(() => {
      namespaces.pin(uts, path('refused'))
    }).toThrow(expect.objectContaining({ code: 'EPERM', syscall: 'mount' }))
    expect(readdirSync(path())).not.toContain('refused')
  })

  test('what is not pinned is left alone', () => {
    writeFileSync(path('file'), 'kept')
    expect(() => {
      namespaces.unpin(path('file'))
    }).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    expect(readdirSync(path())).toContain('file')
  })

  test('bad arguments', () => {
    const { pin, unpin } = namespaces as unknown as Record<string, (...args: unknown[]) => void>
    using file = new Fd(openSync('/etc/passwd', 'r'))
    expect(() => pin!('x', path('x'))).toThrow('pin: namespace')
    expect(() => pin!(file, path('x'))).toThrow(expect.objectContaining({ code: 'ENOTTY' }))
    expect(() => pin!(file, '')).toThrow('pin: path')
    expect(() => unpin!(7)).toThrow('unpin: path')
    expect(readdirSync(path())).not.toContain('x')
  })
})
