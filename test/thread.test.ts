// What runs on the calling thread, and what stays behind. The thread is another process's: ours stays as it is.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { spawnSync } from 'node:child_process'
import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'
import { fileURLToPath } from 'node:url'
import { KernelError } from '../lib/errors.ts'
import { CHILD_ONLY, native } from '../lib/native.ts'
import { selinux } from '../lib/selinux.ts'
import * as steps from '../lib/steps/index.ts'
import * as thread from '../lib/thread.ts'
import { on } from './support/machine.ts'

const program = fileURLToPath(new URL('programs/thread.mjs', import.meta.url))

// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- what the program prints is what is asked for
function scenario<Said>(name: string): Said {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [program, name], {
    encoding: 'utf8',
  })
  expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' })
  return JSON.parse(stdout) as Said
}

interface Refused {
  code: string
  errno: number
  syscall: string
  path?: string
  dest?: string
  hint?: string
  message: string
}

const machine = (): unknown => ({
  hostname: hostname(),
  mounts: readFileSync('/proc/self/mountinfo', 'utf8'),
  namespaces: ['mnt', 'uts', 'net', 'user'].map((kind) => readlinkSync(`/proc/self/ns/${kind}`)),
})

let before: unknown
beforeEach(() => {
  before = machine()
})
afterEach(() => {
  expect(machine()).toEqual(before)
})

describe('which calls there are', () => {
  test('those that are per thread, or act through its namespaces; none that moves all threads', () => {
    const { table } = native()
    const absent = [
      'chdir',
      'fchdir',
      'chroot',
      'umask',
      'pivotRoot',
      'setrlimit',
      'setsid',
      'clone',
      'uidMap',
      'dup',
      'close',
    ]
    expect(Object.keys(thread).filter((name) => absent.includes(name))).toEqual([])
    const names: Record<string, string> = {
      mkdirat: 'mkdir', symlinkat: 'symlink', mknodat: 'mknod', openat: 'open', write_file: 'writeFile',
      aa_change_onexec: 'aaChangeOnexec', aa_change_profile: 'aaChangeProfile', join_session_keyring: 'joinSessionKeyring',
    } // prettier-ignore
    for (const { name, flags, scope } of table.values()) {
      if (flags & CHILD_ONLY || scope === 'fs' || scope === 'process') continue
      expect(Object.keys(thread)).toContain(names[name] ?? name)
    }
  })

  test('are validated as steps are', () => {
    expect(() => {
      thread.sethostname('x'.repeat(65))
    }).toThrow('sethostname: name: 65 bytes')
    expect(() => {
      thread.mkdir('a', 0o777, { dirfd: steps.open('/') })
    }).toThrow('uses the fd of a step that does not come before it')
  })
})

describe('a thread', () => {
  on({ user: 'root' }).test('has its own uts namespace, and the pool keeps the old one', () => {
    interface Said {
      before: { name: string; namespace: string }
      inside: { name: string; namespace: string }
      pool: string
      domain: string
    }
    const said = scenario<Said>('uts')
    expect(said.inside.name).toBe('fancyproc-thread')
    expect(said.domain).toBe('fancyproc.test')
    expect(said.inside.namespace).not.toBe(said.before.namespace)
    expect(said.pool).toBe(said.before.namespace)
    expect(said.before).toEqual({ name: hostname(), namespace: readlinkSync('/proc/self/ns/uts') })
  })

  on({ user: 'root' }).test('mounts tmpfs, overlay and bind where only it sees them', () => {
    interface Said {
      a: string
      b: string
      c: string
      readOnly: Refused
      again: Refused
      pool: string[]
      seen: boolean
    }
    const said = scenario<Said>('mount')
    expect([said.a, said.b, said.c]).toEqual(['one', 'two', 'three'])
    expect(said.readOnly).toMatchObject({ code: 'EROFS', syscall: 'mkdirat' })
    expect(said.again).toMatchObject({
      code: 'EINVAL',
      syscall: 'umount2',
      hint: expect.stringContaining('no mount point'),
    })
    expect({ pool: said.pool, seen: said.seen }).toEqual({ pool: [], seen: true })
  })

  on({ user: 'root' }).test('joins namespaces; a mount namespace only with a root of its own', () => {
    const said = scenario<Record<'before' | 'apart' | 'after', string> & Record<'shared' | 'wrong', Refused>>(
      'setns',
    )
    expect(said.apart).not.toBe(said.before)
    expect(said.after).toBe(said.before)
    expect(said.shared).toMatchObject({
      code: 'EINVAL',
      syscall: 'setns',
      hint: expect.stringContaining("unshare('fs')"),
    })
    expect(said.wrong).toMatchObject({ code: 'EINVAL', syscall: 'setns' })
  })

  test('cannot have a user namespace of its own', () => {
    const { refused } = scenario<{ refused: Refused }>('user')
    expect(refused).toMatchObject({
      code: 'EINVAL',
      errno: -22,
      syscall: 'unshare',
      hint: expect.stringContaining('several threads'),
    })
  })

  on({ user: 'ordinary' }).test('of an ordinary user is told what is missing', () => {
    const said = scenario<Record<'refused' | 'mount' | 'host' | 'groups', Refused> & { same: boolean }>(
      'unprivileged',
    )
    expect(said.refused).toMatchObject({
      code: 'EPERM',
      syscall: 'unshare',
      hint: expect.stringContaining('CAP_SYS_ADMIN'),
    })
    expect(said.same).toBe(true)
    expect(said.mount).toMatchObject({ code: 'EPERM', syscall: 'mount', path: 'none', dest: '/tmp' })
    expect(said.host).toMatchObject({
      code: 'EPERM',
      syscall: 'sethostname',
      hint: expect.stringContaining('uts'),
    })
    expect(said.groups).toMatchObject({
      code: 'EPERM',
      syscall: 'setgroups',
      hint: expect.stringContaining('deny'),
    })
  })

  on({ user: 'root' }).test('of a Worker changes its ids alone', () => {
    const said = scenario<Record<'said' | 'main', Record<string, string | number>>>('ids')
    expect(said.said).toEqual({ uid: '0\t4321\t0\t4321', gid: '1234\t0\t0\t0', groups: '7 8' })
    expect(said.main).toMatchObject({ uid: '0\t0\t0\t0', gid: '0\t0\t0\t0', euid: 0 })
  })

  test('of a Worker has its own no_new_privs and name', () => {
    const said = scenario<Record<'said' | 'main', { privileges: string; name: string }>>('privileges')
    expect(said.said).toEqual({ privileges: '1', name: 'fancy thread' })
    expect(said.main.privileges).toBe(
      /^NoNewPrivs:\s*(\d)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1],
    )
    expect(said.main.name).not.toBe('fancy thread')
  })

  on({ user: 'root' }).test('of a Worker takes its namespaces with it', () => {
    const said = scenario<{
      before: string
      after: string
      name: string
      said: { namespace: string; name: string }
    }>('worker')
    expect(said.said.name).toBe('fancyproc-worker')
    expect(said.said.namespace).not.toBe(said.before)
    expect([said.after, said.name]).toEqual([said.before, hostname()])
  })

  test('opens files, with errors that name them', () => {
    interface Said {
      isFd: boolean
      text: string
      cloexec: boolean
      second: string
      written: number[]
      out: Refused
      nothing: Refused
      write: Refused
      bind: Refused
    }
    const said = scenario<Said>('open')
    expect(said).toMatchObject({
      isFd: true,
      text: 'inside',
      cloexec: true,
      second: 'link',
      written: [0, 1, 2],
    })
    expect(said.out).toMatchObject({
      code: 'EXDEV',
      syscall: 'openat2',
      path: 'out',
      hint: expect.stringContaining('leads out'),
    })
    expect(said.nothing).toMatchObject({
      code: 'ENOENT',
      syscall: 'openat',
      path: expect.stringMatching(/no\/where$/),
    })
    expect(said.write).toMatchObject({ code: 'ENOENT', syscall: 'openat' })
    expect(said.nothing.message).toMatch(/^ENOENT: no such file or directory, openat '.*no\/where'/)
    expect(said.bind).toMatchObject({
      syscall: 'mount',
      path: expect.stringMatching(/a$/),
      dest: expect.stringMatching(/b$/),
    })
  })
})

describe('SELinux', () => {
  const off = on({ lsm: ['none', 'apparmor'] })

  off.test('that is off fails, and does not pretend', () => {
    expect(selinux.enabled()).toBe(false)
    const label = 'user_u:user_r:user_t:s0'
    const calls: [string, () => unknown][] = [
      ['setexeccon', () => { thread.setexeccon(label) }],
      ['setexeccon', () => { thread.setexeccon(null) }],
      ['setfscreatecon', () => { thread.setfscreatecon(label) }],
      ['setkeycreatecon', () => { thread.setkeycreatecon(label) }],
      ['setsockcreatecon', () => { thread.setsockcreatecon(null) }],
      ['setcon', () => { thread.setcon(label) }],
      ['getcon', () => selinux.getcon()],
      ['getpidcon', () => selinux.getpidcon(1)],
    ] // prettier-ignore
    for (const [syscall, body] of calls) {
      let thrown: unknown
      try {
        body()
      } catch (error) {
        thrown = error
      }
      expect(thrown).toBeInstanceOf(KernelError)
      expect(thrown).toMatchObject({ errno: -95, syscall, hint: expect.stringMatching(/^SELinux is off/) })
    }
  })

  test('is asked about a pid only', () => {
    expect(() => selinux.getpidcon(0)).toThrow(
      'getpidcon: pid: expected an integer from 1 to 2147483647, got 0',
    )
    expect(() => selinux.getpidcon(1.5)).toThrow(RangeError)
  })

  on({ lsm: 'selinux' }).test('tells the label of this thread and of a process', () => {
    expect(selinux.enabled()).toBe(true)
    expect(selinux.getcon()).toMatch(/^[^:\0]+:[^:]+:[^:]+/)
    expect(selinux.getcon()).toBe(readFileSync('/proc/thread-self/attr/current', 'utf8').replace(/\0$/, ''))
    expect(selinux.getpidcon(process.pid)).toBe(selinux.getcon())
  })

  on({ lsm: 'selinux' }).test('takes an exec label, clears it, and refuses nonsense', () => {
    const exec = (): string => readFileSync('/proc/thread-self/attr/exec', 'utf8').replace(/\0$/, '')
    thread.setexeccon(selinux.getcon())
    expect(exec()).toBe(selinux.getcon())
    thread.setexeccon(null)
    expect(exec()).toBe('')
    expect(() => {
      thread.setexeccon('no context at all')
    }).toThrow('EINVAL')
  })
})
