// Namespaces: made at creation or by steps, joined, left; by their inodes in /proc/PID/ns.
import { afterAll, describe, expect, test } from '@jest/globals'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { Fd, type Namespace, type Process, run, spawn } from 'fancyproc'
import { clone, mapUser, namespaces, open, sendFd, sethostname, setns, unshare } from 'fancyproc/steps'
import { isolated, rights } from './support/isolated.ts'
import { facts, on } from './support/machine.ts'
import { namespace, stat, status } from './support/proc.ts'
import { begun, blocked, scratch } from './support/scratch.ts'

const path = scratch()
const root = facts.user === 'root'

/** The kinds in which a process is elsewhere than this one. */
function differing(pid: number | undefined): string[] {
  return namespaces.filter((kind) => namespace(pid, kind) !== namespace('self', kind)).sort()
}

const mine = (...kinds: Namespace[]): string[] =>
  (root ? kinds : [...new Set<string>(['user', ...kinds])]).sort()

const started: Process[] = []
async function sleeper(...args: Parameters<typeof isolated>): Promise<Process> {
  const child = await spawn('sleep', ['1000'], isolated(...args)).spawned
  started.push(child)
  return child
}
afterAll(async () => {
  for (const child of started) await child[Symbol.asyncDispose]()
})

describe('at creation', () => {
  test('none unless asked for', async () => {
    await using child = await spawn('sleep', ['1000']).spawned
    expect(differing(child.pid)).toEqual([])
  })

  on(rights).describe('one kind', () => {
    test.each(namespaces)('%s', async (kind) => {
      const child = await sleeper([kind])
      expect(differing(child.pid)).toEqual(mine(kind))
    })
  })

  on(rights).test('all of them', async () => {
    const child = await sleeper(namespaces)
    expect(differing(child.pid)).toEqual([...namespaces].sort())
    expect(status(child.pid, 'NSpid').split('\t').at(-1)).toBe('1')
  })

  on(rights).test('its first process sees itself as 1, and no parent', async () => {
    expect((await run('sh', ['-c', 'echo $$ $PPID'], isolated(['pid']))).stdout).toBe('1 0\n')
  })

  on({ ...rights }).test('of a user: no capability is left but what a map of root gives back', async () => {
    await using bare = await spawn('sleep', ['1000'], { namespaces: ['user'] }).spawned
    // Without a map it is nobody, and an exec of nobody keeps none.
    for (const field of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb'])
      expect(status(bare.pid, field)).toBe('0'.repeat(16))
    await using mapped = await spawn('sleep', ['1000'], { namespaces: ['user'], steps: mapUser() }).spawned
    expect(status(mapped.pid, 'CapEff')).toBe(status(mapped.pid, 'CapBnd'))
    for (const field of ['CapInh', 'CapAmb']) expect(status(mapped.pid, field)).toBe('0'.repeat(16))
    await using other = await spawn('sleep', ['1000'], {
      namespaces: ['user'],
      steps: mapUser({ uid: 7, gid: 7 }),
    }).spawned
    for (const field of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb'])
      expect(status(other.pid, field)).toBe('0'.repeat(16))
  })

  on({ user: 'root' }).test('with the pid that was asked for', async () => {
    const free = (): number => {
      for (let pid = 1_000_000; ; pid++) if (readable(pid)) return pid
    }
    const max = Number(readFileSync('/proc/sys/kernel/pid_max', 'utf8'))
    const pid = Math.min(free(), max - 10)
    await using child = await spawn('sleep', ['1000'], { setTid: [pid] }).spawned
    expect(child.pid).toBe(pid)
    await using inner = await spawn('sleep', ['1000'], { setTid: [1, pid + 1], namespaces: ['pid'] }).spawned
    expect(status(inner.pid, 'NSpid').split('\t')).toEqual([String(pid + 1), '1'])
  })
})

function readable(pid: number): boolean {
  try {
    stat(pid)
    return false
  } catch {
    return true
  }
}

describe('by unshare', () => {
  const kinds = namespaces.filter((kind) => kind !== 'pid' && kind !== 'time' && kind !== 'user')
  on(rights).describe('one kind', () => {
    test.each(kinds)('%s', async (kind) => {
      const child = await sleeper([], unshare(kind))
      expect(differing(child.pid)).toEqual(mine(kind))
    })
  })

  on({ userns: true }).test('of a user, then all others in it', async () => {
    const steps = [unshare('user'), mapUser(), unshare(kinds)]
    await using child = await spawn('sleep', ['1000'], { steps }).spawned
    expect(differing(child.pid)).toEqual(['user', ...kinds].sort())
  })
})

describe('clone', () => {
  on(rights).test('the rest of the plan, and the program, is in a new process, which is ours', async () => {
    const child = await sleeper([], clone(['pid', 'uts']), sethostname('cloned'))
    expect(differing(child.pid)).toEqual(mine('pid', 'uts'))
    expect(Number(stat(child.pid)[1])).toBe(process.pid)
    expect(readFileSync(`/proc/self/fdinfo/${String(child.pidfd!.fd)}`, 'utf8')).toMatch(
      new RegExp(`^Pid:\\s*${String(child.pid)}$`, 'm'),
    )
  })

  test('several in a row; the exit code is that of the last', async () => {
    const child = spawn('sh', ['-c', 'exit 9'], { steps: Array.from({ length: 5 }, () => clone()) })
    expect(await child.exited).toMatchObject({ code: 9, reason: 'exited' })
  })

  on(rights).test('after unshare: in the new pid and time namespaces', async () => {
    const child = await sleeper([], unshare(['pid', 'time']), clone())
    expect(differing(child.pid)).toEqual(mine('pid', 'time'))
  })

  on(rights).test('killed while a step waits, it is the clone that dies', async () => {
    const child = spawn('true', isolated([], clone('pid'), blocked(path('waits'))))
    const pid = await begun(child)
    expect(child.kill()).toBe(true)
    expect(await child.exited).toMatchObject({ signal: 'SIGKILL', reason: 'cancelled' })
    expect(() => stat(pid)).toThrow('ENOENT')
    await child[Symbol.asyncDispose]()
  })

  test('no process is left behind, however many makers there were', async () => {
    const before = readFileSync('/proc/thread-self/children', 'latin1').length
    await Promise.all(
      Array.from({ length: 20 }, () => run('true', [], { steps: [clone(), clone(), clone()] })),
    )
    expect(readFileSync('/proc/thread-self/children', 'latin1').length).toBe(before)
  })
})

describe('setns', () => {
  on(rights).test('joins a namespace by its file', async () => {
    const host = await sleeper(['uts'], sethostname('there'))
    const files = [...(root ? [] : ['user']), 'uts'].map((kind) => {
      return new Fd(openSync(`/proc/${String(host.pid)}/ns/${kind}`, 'r'))
    })
    const { stdout } = await run('hostname', [], { steps: files.map((fd) => setns(fd)) })
    expect(stdout).toBe('there\n')
    for (const fd of files) fd.close()
  })

  on(rights).test('joins several of a process, by its pidfd; the pid namespace with a clone', async () => {
    const kinds: Namespace[] = ['mnt', 'uts', 'ipc', 'net', 'pid', 'cgroup']
    const host = await sleeper(kinds)
    const join: Namespace[] = root ? kinds : ['user', ...kinds]
    await using guest = await spawn('sleep', ['1000'], { steps: [setns(host.pidfd!, join), clone()] }).spawned
    for (const kind of join) expect(namespace(guest.pid, kind)).toBe(namespace(host.pid, kind))
    expect(status(guest.pid, 'NSpid').split('\t').at(-1)).not.toBe('1')
    expect(Number(stat(guest.pid)[1])).toBe(process.pid)
  })

  on(rights).test('a namespace outlives its process as an fd that was sent back', async () => {
    const net = open('/proc/self/ns/net')
    const maker = spawn('true', isolated(['net'], net, sendFd('net', net)))
    await maker.exited
    const owner = openSync('/proc/self/ns/net', 'r')
    closeSync(owner)
    const inode = readInode(maker.fds['net']!)
    if (root) {
      await using guest = await spawn('sleep', ['1000'], { steps: [setns(maker.fds['net']!, 'net')] }).spawned
      expect(namespace(guest.pid, 'net')).toBe(inode)
    }
    expect(inode).toMatch(/^net:\[\d+\]$/)
    expect(inode).not.toBe(namespace('self', 'net'))
    await maker[Symbol.asyncDispose]()
  })

  test('an fd that is no namespace, one of another kind, a process that has ended', async () => {
    const file = open('/etc/passwd')
    await expect(run('true', [], { steps: [file, setns(file)] })).rejects.toMatchObject({
      code: 'EINVAL',
      step: 1,
    })
    const uts = open('/proc/self/ns/uts')
    await expect(run('true', [], { steps: [uts, setns(uts, 'net')] })).rejects.toMatchObject({
      code: 'EINVAL',
    })
    const child = await spawn('sleep', ['1000']).spawned
    const pidfd = child.pidfd!.dup()
    await child[Symbol.asyncDispose]()
    await expect(run('true', [], { steps: [setns(pidfd, 'uts')] })).rejects.toMatchObject({ code: 'ESRCH' })
    pidfd.close()
  })

  on({ user: 'ordinary' }).test('of others takes privilege', async () => {
    const own = open('/proc/self/ns/net')
    await expect(run('true', [], { steps: [own, setns(own)] })).rejects.toMatchObject({
      code: 'EPERM',
      syscall: 'setns',
      hint: expect.stringContaining('CAP_SYS_ADMIN') as unknown,
    })
  })
})

function readInode(fd: Fd): string {
  return namespace('self', `../fd/${String(fd.fd)}`)
}

describe('where user namespaces are forbidden', () => {
  /** The limit is that of a user namespace of its own: this machine's stays as it is. */
  const script = (inner: string): string[] => [
    '-c',
    `echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" --input-type=module -e "$1"`,
    process.execPath,
    `import { spawn } from 'fancyproc'
    import { mapUser, unshare } from 'fancyproc/steps'
    await spawn('true', ${inner}).exited.catch(({ code, syscall, hint }) => console.log([code, syscall, hint].join('|')))`,
  ]

  on({ userns: true }).test('the error names the sysctl', async () => {
    for (const [options, syscall] of [
      [`{ namespaces: ['user'] }`, 'clone3'],
      [`{ steps: [unshare('user')] }`, 'unshare'],
    ] as const) {
      const { stdout, stderr } = await run('sh', script(options), {
        namespaces: ['user'],
        steps: [mapUser()],
        env: { PATH: process.env['PATH'] },
      })
      expect([stderr, stdout]).toEqual([
        '',
        expect.stringMatching(`^ENOSPC\\|${syscall}\\|.*user\\.max_user_namespaces is 0`),
      ])
    }
  })
})
