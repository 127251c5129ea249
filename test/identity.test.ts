// Ids, and how a user namespace maps them: by the child itself, by root, by newuidmap and newgidmap.
import { describe, expect, test } from '@jest/globals'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { type Process, run, spawn, type SpawnOptions } from 'fancyproc'
import {
  clone,
  gidMap,
  mapUser,
  prctl,
  setgroups,
  setgroupsDeny,
  setresgid,
  setresuid,
  type Step,
  type Steps,
  uidMap,
  unshare,
} from 'fancyproc/steps'
import { facts, on } from './support/machine.ts'
import { status } from './support/proc.ts'
import { scratch } from './support/scratch.ts'

const path = scratch()
const [uid, gid] = [process.geteuid!(), process.getegid!()]

const sleeper = (options: SpawnOptions): Promise<Process> => spawn('sleep', ['1000'], options).spawned
const inUser = (...steps: Steps[]): SpawnOptions => ({ namespaces: ['user'], steps })

/** As [inside, outside, count], of uids or gids. */
function map(pid: number | undefined, kind: 'uid' | 'gid'): number[][] {
  const text = readFileSync(`/proc/${String(pid)}/${kind}_map`, 'utf8').trimEnd()
  return text === '' ? [] : text.split('\n').map((line) => line.trim().split(/\s+/).map(Number))
}

const ids = (pid: number | undefined, kind: 'Uid' | 'Gid'): number[] =>
  status(pid, kind).split('\t').slice(0, 3).map(Number)

/** Lines of /etc/subuid and its like that are this user's: the first range. */
function subordinate(kind: 'uid' | 'gid'): { start: number; count: number } {
  const name = process.env['USER'] ?? ''
  const text = readFileSync(`/etc/sub${kind}`, 'utf8')
  const line = text
    .split('\n')
    .find((each) => each.startsWith(`${name}:`) || each.startsWith(`${String(uid)}:`))
  const [, start = '', count = ''] = line?.split(':') ?? []
  if (line === undefined) throw new Error(`no line for ${name} in /etc/sub${kind}`)
  return { start: Number(start), count: Number(count) }
}

describe('one’s own id', () => {
  on({ userns: true }).test('mapped to root: root inside, nobody new outside', async () => {
    await using child = await sleeper(inUser(mapUser()))
    expect([map(child.pid, 'uid'), map(child.pid, 'gid')]).toEqual([[[0, uid, 1]], [[0, gid, 1]]])
    expect(readFileSync(`/proc/${String(child.pid)}/setgroups`, 'utf8')).toBe('deny\n')
    expect([ids(child.pid, 'Uid'), ids(child.pid, 'Gid')]).toEqual([
      [uid, uid, uid],
      [gid, gid, gid],
    ])
    expect((await run('id', ['-u'], inUser(mapUser()))).stdout).toBe('0\n')
  })

  on({ userns: true }).test('mapped to another', async () => {
    const options = inUser(mapUser({ uid: 1234, gid: 4321 }))
    expect((await run('sh', ['-c', 'id -u; id -g'], options)).stdout).toBe('1234\n4321\n')
  })

  on({ userns: true }).test('in a namespace that the child has made itself', async () => {
    const options = { steps: [unshare('user'), mapUser()] }
    expect((await run('id', ['-u'], options)).stdout).toBe('0\n')
    const cloned = { steps: [unshare('user'), mapUser(), clone('pid')] }
    expect((await run('sh', ['-c', 'id -u; echo $$'], cloned)).stdout).toBe('0\n1\n')
  })

  on({ userns: true }).test('without a map it is nobody’s', async () => {
    expect((await run('id', ['-u'], { namespaces: ['user'] })).stdout).toBe(
      readFileSync('/proc/sys/kernel/overflowuid', 'utf8'),
    )
  })

  on({ userns: true }).test('may be mapped once', async () => {
    const own = uidMap({ inside: 0, outside: uid, count: 1 })
    await expect(run('true', [], inUser(own, own))).rejects.toMatchObject({
      code: 'EPERM',
      syscall: 'write',
      step: 1,
      path: '/proc/self/uid_map',
    })
  })

  on({ user: 'ordinary', userns: true }).test('of a group takes setgroups to be denied first', async () => {
    const own = gidMap({ inside: 0, outside: gid, count: 1 })
    await expect(run('true', [], inUser(own))).rejects.toMatchObject({
      code: 'EPERM',
      path: '/proc/self/gid_map',
      hint: expect.stringContaining('setgroupsDeny()') as unknown,
    })
    await expect(run('true', [], inUser(setgroupsDeny(), own, setgroupsDeny()))).rejects.toMatchObject({
      code: 'EPERM',
      step: 2,
      path: '/proc/self/setgroups',
    })
  })

  on({ userns: true }).test('denied once, setgroups is refused', async () => {
    await expect(run('true', [], inUser(mapUser(), setgroups([])))).rejects.toMatchObject({
      code: 'EPERM',
      syscall: 'setgroups',
      hint: expect.stringContaining('/proc/self/setgroups') as unknown,
    })
  })

  on({ userns: true }).test('ids without a mapping are refused', async () => {
    await expect(run('true', [], inUser(mapUser(), setresuid(77)))).rejects.toMatchObject({
      code: 'EINVAL',
      syscall: 'setresuid',
      hint: expect.stringContaining('no mapping') as unknown,
    })
  })
})

describe('ranges, by root', () => {
  const ranges = [
    { inside: 0, outside: 100_000, count: 1000 },
    { inside: 1000, outside: 0, count: 1 },
    { inside: 2000, outside: 200_000, count: 65_536 },
  ]
  const expected = ranges.map(({ inside, outside, count }) => [inside, outside, count])

  on({ user: 'root' }).test('are written for the child, which becomes any of them', async () => {
    const options = inUser(
      uidMap(ranges),
      gidMap(ranges),
      setgroups([5, 2001]),
      setresgid(7),
      setresuid(2010),
    )
    await using child = await sleeper(options)
    expect([map(child.pid, 'uid'), map(child.pid, 'gid')]).toEqual([expected, expected])
    expect(ids(child.pid, 'Uid')).toEqual([200_010, 200_010, 200_010])
    expect(ids(child.pid, 'Gid')).toEqual([100_007, 100_007, 100_007])
    expect(status(child.pid, 'Groups').trim()).toBe('100005 200001')
    expect(status(child.pid, 'CapEff')).toBe('0'.repeat(16))
    // It belongs to somebody else now, and its signals still arrive.
    expect(child.kill()).toBe(true)
    expect(await child.exited).toMatchObject({ signal: 'SIGTERM' })
  })

  on({ user: 'root' }).test('also behind a clone, for the process that it made', async () => {
    for (let i = 0; i < 10; i++) {
      const { stdout } = await run('id', ['-u'], {
        steps: [clone(['user', 'pid']), uidMap(ranges), setresuid(3)],
      })
      expect(stdout).toBe('3\n')
      const made = { steps: [unshare('user'), clone(), clone(), uidMap(ranges), setresuid(2003)] }
      expect((await run('id', ['-u'], made)).stdout).toBe('2003\n')
    }
  })

  on({ user: 'root' }).test('as many as the kernel takes', async () => {
    const many = Array.from({ length: 340 }, (_, i) => ({ inside: i, outside: 1000 + 2 * i, count: 1 }))
    await using child = await sleeper(inUser(uidMap(many)))
    expect(map(child.pid, 'uid')).toHaveLength(340)
  })

  on({ user: 'root' }).test('where there is no user namespace of its own to map', async () => {
    await expect(run('true', [], { steps: [uidMap(ranges)] })).rejects.toMatchObject({
      code: 'EPERM',
      step: 0,
      path: '/proc/self/uid_map',
    })
  })

  on({ user: 'root' }).test('a kill while the map is being written ends it', async () => {
    for (let i = 0; i < 20; i++) {
      const child = spawn('sleep', ['1000'], { ...inUser(uidMap(ranges), gidMap(ranges)), stdio: 'ignore' })
      for (let turn = 0; turn < i; turn++) await new Promise(setImmediate)
      child.kill('SIGKILL')
      expect(await child.exited).toMatchObject({ signal: 'SIGKILL' })
    }
  })
})

describe('ranges, by newuidmap and newgidmap', () => {
  const machine = { user: 'ordinary', userns: true, tools: ['newuidmap', 'newgidmap'] } as const
  const ranges = (kind: 'uid' | 'gid'): Step => {
    const { start, count } = subordinate(kind)
    const list = [
      { inside: 0, outside: kind === 'uid' ? uid : gid, count: 1 },
      { inside: 1, outside: start, count },
    ]
    return kind === 'uid' ? uidMap(list) : gidMap(list)
  }

  on(machine).test('those of /etc/subuid and /etc/subgid', async () => {
    await using child = await sleeper(
      inUser(ranges('uid'), ranges('gid'), setgroups([9]), setresgid(8), setresuid(7)),
    )
    const [users, groups] = [subordinate('uid'), subordinate('gid')]
    expect(map(child.pid, 'uid')).toEqual([
      [0, uid, 1],
      [1, users.start, users.count],
    ])
    expect(map(child.pid, 'gid')).toEqual([
      [0, gid, 1],
      [1, groups.start, groups.count],
    ])
    expect(ids(child.pid, 'Uid')).toEqual([users.start + 6, users.start + 6, users.start + 6])
    expect(ids(child.pid, 'Gid')[0]).toBe(groups.start + 7)
    expect(status(child.pid, 'Groups').trim()).toBe(String(groups.start + 8))
  })

  on(machine).test('others are refused, in the words of the tool', async () => {
    const { start, count } = subordinate('uid')
    const list = [{ inside: 0, outside: start, count: count + 1 }]
    await expect(run('true', [], inUser(uidMap(list)))).rejects.toMatchObject({
      code: 'EPERM',
      step: 0,
      path: '/proc/self/uid_map',
      hint: expect.stringMatching(/^newuidmap said: newuidmap: .*not allowed/) as unknown,
    })
  })

  on({ user: 'ordinary', userns: true }).test(
    'where there is no such tool, the error says what it takes',
    async () => {
      const PATH = process.env['PATH']
      process.env['PATH'] = path()
      try {
        await expect(
          run('true', [], inUser(uidMap({ inside: 0, outside: 1, count: 5 }))),
        ).rejects.toMatchObject({
          code: 'EPERM',
          hint: expect.stringContaining('newuidmap (Debian: uidmap), which could not be run') as unknown,
        })
      } finally {
        process.env['PATH'] = PATH
      }
    },
  )

  on({ user: 'ordinary', userns: true }).test('one that says nothing of use', async () => {
    const PATH = process.env['PATH']
    mkdirSync(path('tools'), { recursive: true })
    writeFileSync(path('tools/newuidmap'), '#!/bin/sh\necho "$@" >&2\nexit 3\n')
    chmodSync(path('tools/newuidmap'), 0o755)
    process.env['PATH'] = path('tools')
    try {
      const list = [
        { inside: 0, outside: 7, count: 1 },
        { inside: 1, outside: 9, count: 2 },
      ]
      await expect(run('true', [], inUser(uidMap(list)))).rejects.toMatchObject({
        code: 'EPERM',
        hint: expect.stringMatching(/^newuidmap said: \d+ 0 7 1 1 9 2$/) as unknown,
      })
    } finally {
      process.env['PATH'] = PATH
    }
  })
})

describe('dropping privilege', () => {
  on({ user: 'root' }).test('for good: all three ids, groups, capabilities', async () => {
    await using child = await sleeper({ steps: [setgroups([]), setresgid(4001), setresuid(4002)] })
    expect([ids(child.pid, 'Uid'), ids(child.pid, 'Gid')]).toEqual([
      [4002, 4002, 4002],
      [4001, 4001, 4001],
    ])
    expect(status(child.pid, 'Groups').trim()).toBe('')
    for (const field of ['CapPrm', 'CapEff', 'CapInh', 'CapAmb'])
      expect(status(child.pid, field)).toBe('0'.repeat(16))
    expect(child.kill('SIGKILL')).toBe(true)
    expect(await child.exited).toMatchObject({ signal: 'SIGKILL' })
  })

  on({ user: 'root' }).test('one of the three', async () => {
    await using child = await sleeper({ steps: [setresgid(null, 4001), setresuid(-1, 4002, 4003)] })
    // The exec copies the effective to the saved one.
    expect([ids(child.pid, 'Uid'), ids(child.pid, 'Gid')]).toEqual([
      [0, 4002, 4002],
      [0, 4001, 4001],
    ])
  })

  on({ user: 'root' }).test('and the steps that come after it have none', async () => {
    await expect(
      run('true', [], { steps: [setresuid(4002), setresgid(0, 0, 0), setgroups([1])] }),
    ).rejects.toMatchObject({
      code: 'EPERM',
      syscall: 'setgroups',
      step: 2,
    })
  })

  on({ user: 'root' }).test('of the bounding set', async () => {
    const CAP_SYS_CHROOT = 18
    await using child = await sleeper({ steps: [prctl('PR_CAPBSET_DROP', CAP_SYS_CHROOT)] })
    const bounding = BigInt(`0x${status(child.pid, 'CapBnd')}`)
    expect(bounding).toBe(BigInt(`0x${status('self', 'CapBnd')}`) & ~(1n << BigInt(CAP_SYS_CHROOT)))
  })

  on({ user: 'root' }).test('many groups', async () => {
    const list = Array.from({ length: 65_536 }, (_, i) => i)
    const { stdout } = await run('cat', ['/proc/self/status'], { steps: [setgroups(list)] })
    expect(/^Groups:\s*(.*)$/m.exec(stdout)![1]!.trim().split(' ')).toHaveLength(65_536)
  })

  on({ user: 'ordinary' }).test('is not for who has none', async () => {
    const cases: [Step, string][] = [
      [setresuid(0), 'setresuid'],
      [setresgid(0), 'setresgid'],
      [setgroups([]), 'setgroups'],
    ]
    for (const [step, syscall] of cases) {
      await expect(run('true', [], { steps: [step] })).rejects.toMatchObject({
        code: 'EPERM',
        syscall,
        step: 0,
      })
    }
    // Among his own he may choose.
    expect(await run('true', [], { steps: [setresuid(uid), setresgid(null)] })).toMatchObject({ code: 0 })
  })
})

test('a map without a new user namespace says what is missing', async () => {
  await expect(run('true', [], { steps: mapUser() })).rejects.toMatchObject({
    step: 0,
    hint: "there is no new user namespace to map: have 'user' among the namespaces",
  })
})

test('this process is who it was', () => {
  expect([process.geteuid!(), process.getegid!(), facts.user === 'root']).toEqual([uid, gid, uid === 0])
})
