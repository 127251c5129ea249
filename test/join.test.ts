// spawn() where another process is: what nsenter(1) and docker exec do, of processes that others have isolated.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { copyFileSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { cgroups, type Inherited, joinSteps, type Process, run, spawn, type SpawnOptions } from 'fancyproc'
import {
  capset,
  chdir,
  chroot,
  keepBounding,
  mapUser,
  mount,
  type Namespace,
  namespaces,
  prctl,
  raiseAmbient,
  setexeccon,
  setgroups,
  sethostname,
  setNoNewPrivs,
  setresgid,
  setresuid,
  type Steps,
  unshare,
} from 'fancyproc/steps'
import { command, script } from './support/fork.ts'
import { isolated, rights } from './support/isolated.ts'
import { facts, on, scaled } from './support/machine.ts'
import { byBwrap, byNspawn, byRunc, byUnshare, type Peer } from './support/peers.ts'
import { asleep, fds, namespace, status, strings } from './support/proc.ts'
import { scratch } from './support/scratch.ts'
import { leaks, settled } from './support/state.ts'

const path = scratch()
const root = facts.user === 'root'
const everything: Inherited[] = ['cgroup', 'root', 'cwd', 'env', 'ids', 'capabilities', 'no_new_privs']

const spaces = (pid: number | undefined): Record<string, string> =>
  Object.fromEntries(namespaces.map((kind) => [kind, namespace(pid, kind)]))

const sets = ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Uid', 'Gid', 'Groups']
const rightsOf = (pid: number | undefined): Record<string, string> =>
  Object.fromEntries(sets.map((field) => [field, status(pid, field).trim()]))

const cgroupOf = (pid: number | undefined): string =>
  readFileSync(`/proc/${String(pid)}/cgroup`, 'utf8').match(/^0::.*$/m)?.[0] ?? ''

const place = (pid: number | undefined, link: string): string => readlinkSync(`/proc/${String(pid)}/${link}`)

/** Where a shell finds itself. */
const whereabouts = `
  pwd; stat -c '%d %i' / .; hostname; id -u; id -g; cat /proc/self/mountinfo
  for kind in ${namespaces.join(' ')}; do readlink /proc/self/ns/$kind; done`

/** Options of nsenter(1). */
const flags: Record<Namespace, string> = {
  mnt: '-m', uts: '-u', ipc: '-i', net: '-n', pid: '-p', user: '-U', cgroup: '-C', time: '-T',
} // prettier-ignore

describe('a process isolated by', () => {
  const makers: [string, Parameters<typeof on>[0], () => Promise<Peer>][] = [
    ['unshare', { tools: ['unshare', 'nsenter'], userns: true }, () => byUnshare('-U', '-r', '-m', '-u', '-i', '-n', '-p', '-C', '-T', '--mount-proc')],
    ['bwrap', { tools: ['bwrap', 'nsenter'], userns: true }, () => byBwrap('--uid', root ? '7' : '0', '--gid', root ? '8' : '0')],
    ['runc', { tools: ['runc', 'nsenter'], user: 'root' }, () => byRunc(path('runc'))],
    ['systemd-nspawn', { tools: ['systemd-nspawn', 'nsenter'], user: 'root' }, byNspawn],
  ] // prettier-ignore

  for (const [name, machine, make] of makers) {
    on(machine).describe(name, () => {
      let peer: Peer
      beforeAll(async () => {
        peer = await make()
      })
      afterAll(() => peer.end())

      test('is joined in all its namespaces, and followed in all else', async () => {
        await using child = await spawn('sleep', ['1000'], {
          stdio: 'ignore',
          join: { target: peer.pid, inherit: everything },
        }).spawned
        expect(spaces(child.pid)).toEqual(spaces(peer.pid))
        expect(rightsOf(child.pid)).toEqual(rightsOf(peer.pid))
        expect(cgroupOf(child.pid)).toBe(cgroupOf(peer.pid))
        expect(strings(child.pid, 'environ').sort()).toEqual(strings(peer.pid, 'environ').sort())
        expect([place(child.pid, 'root'), place(child.pid, 'cwd')]).toEqual([
          place(peer.pid, 'root'),
          place(peer.pid, 'cwd'),
        ])
        await asleep(child.pid)
        expect(Object.keys(fds(child.pid))).toEqual(['0', '1', '2'])
      })

      test('is seen as nsenter sees it', async () => {
        // With -a an ordinary user's nsenter fails with EPERM at a time namespace that he has not left.
        const [ours, theirs] = [spaces(process.pid), spaces(peer.pid)]
        const others = namespaces.filter((kind) => ours[kind] !== theirs[kind]).map((kind) => flags[kind])
        const wanted = await command('nsenter', [
          '-t', String(peer.pid), ...others, '-r', '-w', '--preserve-credentials', 'sh', '-c', whereabouts,
        ]) // prettier-ignore
        const { stdout } = await run('sh', ['-c', whereabouts], {
          join: { target: peer.pid, inherit: ['root', 'cwd'] },
          env: process.env,
        })
        expect(stdout.split('\n').length).toBeGreaterThan(15)
        expect(stdout).toBe(wanted.stdout)
      })
    })
  }
})

on(rights).describe('a process of our own', () => {
  const kinds: readonly Namespace[] = ['mnt', 'uts', 'ipc', 'pid', 'net', 'cgroup', 'time']
  const inside: Steps = [
    mount({ source: 'none', target: '/tmp', type: 'tmpfs' }),
    mount({ source: 'proc', target: '/proc', type: 'proc' }),
    sethostname('inside'),
  ]
  let victim: Process
  beforeAll(async () => {
    victim = await spawn('sleep', ['1000'], { stdio: 'ignore', ...isolated(kinds, inside) }).spawned
  })
  afterAll(() => victim[Symbol.asyncDispose]())

  test.each([...kinds, 'user'] as Namespace[])('one namespace of it: %s', async (kind) => {
    // Without the user namespace, an ordinary user has no privilege in the others.
    const list: Namespace[] = root ? [kind] : [...new Set<Namespace>(['user', kind])]
    await using child = await spawn('sleep', ['1000'], {
      stdio: 'ignore',
      join: { target: victim, namespaces: list },
    }).spawned
    const [ours, theirs] = [spaces(process.pid), spaces(victim.pid)]
    for (const each of namespaces)
      expect([each, namespace(child.pid, each)]).toEqual([each, (list.includes(each) ? theirs : ours)[each]])
  })

  test('steps run in there, before the last of it; errors count them', async () => {
    const options = { join: victim, steps: [chdir('/tmp'), sethostname('renamed')] }
    const { stdout } = await run('sh', ['-c', 'echo $PWD $(hostname) $$'], options)
    expect(stdout).toMatch(/^\/tmp renamed [2-9]\d*\n$/)
    await expect(
      run('true', [], { join: victim, steps: [chdir('/tmp'), chdir('/no/where')] }),
    ).rejects.toMatchObject({
      step: 1,
      path: '/no/where',
    })
    await run('true', [], { join: victim, steps: [sethostname('inside')] })
  })

  test('reordered: the steps are the caller’s, too', async () => {
    using steps = joinSteps({ target: victim, inherit: ['cwd'] })
    const { stdout } = await run('hostname', [], { steps: [chdir('/'), steps.enter, steps.become] })
    expect(stdout).toBe('inside\n')
  })

  test('its environment, and what is to differ from it', async () => {
    await using target = await spawn('sleep', ['1000'], {
      stdio: 'ignore',
      env: { A: 'one', B: 'two=2', PATH: '/usr/bin', LINES: 'a\nb' },
    }).spawned
    const join = { target, inherit: ['env'] as const }
    const env = (await run('env', ['-0'], { join, env: { B: undefined, C: 'ü' } })).stdout.split('\0')
    expect(env.filter(Boolean).sort()).toEqual(['A=one', 'C=ü', 'LINES=a\nb', 'PATH=/usr/bin'])
    await expect(run('sleep', ['0'], { join, env: { PATH: '/no/where' } })).rejects.toMatchObject({
      code: 'ENOENT',
    })
  })

  test('the environment of one that runs since a moment, whose execve may not be quite over', async () => {
    for (let i = 0; i < scaled(50); i++) {
      await using target = await spawn('sleep', ['1000'], { stdio: 'ignore', env: { A: 'one' } }).spawned
      using steps = joinSteps({ target, inherit: ['env'] })
      expect(steps.env).toEqual({ A: 'one' })
    }
  })

  test('a namespace to join is not to be new as well', () => {
    expect(() => spawn('true', { join: victim, namespaces: ['uts'] })).toThrow(
      /^namespaces: one of these is to be joined/,
    )
  })

  test('nothing is left of those that fail', async () => {
    const before = leaks()
    for (const steps of [[chdir('/no/where')], [chroot('/proc/self/environ')]])
      await expect(
        run('true', [], { join: { target: victim, inherit: everything }, steps }),
      ).rejects.toThrow()
    await expect(run('/no/where', [], { join: victim })).rejects.toMatchObject({ syscall: 'execve' })
    expect(await settled(before)).toEqual(before)
  })
})

on({ user: 'root' }).describe('followed by root', () => {
  const follow = async (...steps: Steps[]): Promise<[Record<string, string>, Record<string, string>]> => {
    await using target = await spawn('sleep', ['1000'], { stdio: 'ignore', steps }).spawned
    await using child = await spawn('sleep', ['1000'], {
      stdio: 'ignore',
      join: { target, inherit: ['ids', 'capabilities', 'no_new_privs'] },
    }).spawned
    return [rightsOf(child.pid), rightsOf(target.pid)]
  }
  const user = [setgroups([4, 5]), setresgid(1, 2, 3), setresuid(6, 7, 6)]
  const cases: [string, Steps][] = [
    ['another user', user],
    ['fewer capabilities', keepBounding(['CAP_CHOWN', 'CAP_NET_RAW'])],
    ['another user, and fewer', [keepBounding(['CAP_CHOWN']), user, setNoNewPrivs()]],
    [
      'another user with ambient ones',
      [
        prctl('PR_SET_KEEPCAPS', 1),
        setresuid(12345),
        capset('CAP_NET_BIND_SERVICE', 'CAP_NET_BIND_SERVICE', 'CAP_NET_BIND_SERVICE'),
        raiseAmbient('CAP_NET_BIND_SERVICE'),
      ],
    ],
  ]
  for (const [name, steps] of cases) {
    test(name, async () => {
      const [child, target] = await follow(steps)
      expect(child).toEqual(target)
    })
  }

  test('a root and a working directory of its own, in our mount namespace', async () => {
    const steps = [chroot('/usr'), chdir('/share')]
    await using target = await spawn('/bin/sleep', ['1000'], { stdio: 'ignore', steps }).spawned
    const { stdout } = await run('/bin/sh', ['-c', 'pwd; stat -c %i /'], {
      join: { target, inherit: ['root', 'cwd'] },
    })
    expect(stdout).toBe(`/share\n${String(statSync('/usr').ino)}\n`)
  })

  on({ cgroup: 'v2-any' }).test('into its cgroup', async () => {
    await using cgroup = await cgroups.create('join')
    await using target = await spawn('sleep', ['1000'], { stdio: 'ignore', cgroup }).spawned
    const join = { target, inherit: ['cgroup'] as const }
    await using child = await spawn('sleep', ['1000'], { stdio: 'ignore', join }).spawned
    expect(cgroupOf(child.pid)).toBe(cgroupOf(target.pid))
    expect(cgroupOf(child.pid)).not.toBe(cgroupOf(process.pid))
    expect(() => spawn('true', { join, cgroup })).toThrow(/^cgroup: there is one already/)
  })
})

on({ lsm: 'none' }).test('a label is not followed where there is none', async () => {
  await expect(run('true', [], { join: { target: process.pid, inherit: ['label'] } })).rejects.toMatchObject({
    code: 'EOPNOTSUPP',
    syscall: 'setexeccon',
  })
})

on({ lsm: 'selinux', tools: 'chcon' }).test('its SELinux context', async () => {
  const label = 'system_u:system_r:container_t:s0:c1,c2'
  const program = path('sleep')
  copyFileSync('/bin/sleep', program)
  await run('chcon', ['system_u:object_r:container_file_t:s0:c1,c2', program])
  const current = (pid: number | undefined): string =>
    readFileSync(`/proc/${String(pid)}/attr/current`, 'utf8').replace(/\0$/, '')
  const options: SpawnOptions = { stdio: 'ignore', steps: [setexeccon(label)] }
  await using target = await spawn(program, ['1000'], options).spawned
  const join = { target, inherit: ['label'] as const }
  await using child = await spawn(program, ['1000'], { stdio: 'ignore', join }).spawned
  expect([current(target.pid), current(child.pid)]).toEqual([label, label])
})

test('who may not: the target has ended, or is another’s', async () => {
  const child = spawn('true', { stdio: 'ignore' })
  await child.exited
  const gone = spawn('true', { join: child })
  await expect(gone.exited).rejects.toMatchObject({ code: 'ESRCH', hint: 'the process has ended' })
  expect(gone.pid).toBeUndefined()
})

on({ user: 'ordinary', tools: 'bwrap', userns: true }).test(
  'a user namespace in another, which owns the rest',
  async () => {
    // One call joins both the inner one and what belongs to the outer one; one by one, neither order works.
    const peer = await byBwrap('--uid', '7', '--gid', '8')
    await using child = await spawn('sleep', ['1000'], {
      stdio: 'ignore',
      join: { target: peer.pid, inherit: everything },
    }).spawned
    expect(spaces(child.pid)).toEqual(spaces(peer.pid))
    expect(rightsOf(child.pid)).toEqual(rightsOf(peer.pid))
    await peer.end()
  },
)

describe('bad input', () => {
  const loose = spawn as unknown as (file: string, options: unknown) => unknown
  const cases: [string, unknown, RegExp][] = [
    ['a word', { target: 1, inherit: 'ids' }, /^join\.inherit: expected an array/],
    [
      'an unknown word',
      { target: 1, inherit: ['uid'] },
      /^join\.inherit\[0\]: no "uid"; known are cgroup, root, cwd/,
    ],
    ['an unknown key', { target: 1, all: true }, /^join\.all: no such option; known are target/],
    ['of fds', { target: { net: 0 }, inherit: ['env'] }, /^join\.inherit: is for a process/],
    ['a name', 'init', /^join: expected a pid/],
    ['true', true, /^join: expected a pid/],
  ]
  test.each(cases)('%s', (_, join, message) => {
    expect(() => loose('true', { join })).toThrow(message)
  })
})

describe('what a path leads to', () => {
  test('is not opened unless it is a namespace', async () => {
    const before = leaks()
    for (const file of ['/dev/null', '/proc/self/environ', path()])
      expect(() => joinSteps({ net: file })).toThrow(
        expect.objectContaining({ code: 'EINVAL', syscall: 'open', path: file }),
      )
    expect(() => joinSteps({ net: '/no/where' })).toThrow(expect.objectContaining({ code: 'ENOENT' }))
    using steps = joinSteps({ net: '/proc/self/ns/net' })
    expect(steps.enter).toEqual([])
    steps[Symbol.dispose]()
    expect(await settled(before)).toEqual(before)
  })
})

on({ user: 'ordinary', userns: true }).test(
  'a user namespace that is made after a join is not to be mapped',
  async () => {
    await using target = await spawn('sleep', ['1000'], { ...isolated(['uts']), stdio: 'ignore' }).spawned
    const made = run('true', [], { join: target, steps: [unshare('user'), mapUser()] })
    await expect(made).rejects.toMatchObject({
      code: 'EACCES',
      path: '/proc/self/setgroups',
      message: expect.stringContaining('not dumpable'),
    })
  },
)

test('what pidfd_open is refused is not taken for a thread', async () => {
  const text = `
    import { closeSync, openSync } from 'node:fs'
    import { joinSteps } from 'fancyproc'
    const steps = () => joinSteps(process.ppid)
    try { steps()[Symbol.dispose]() } catch {}
    const fds = []
    let error
    try { for (;;) fds.push(openSync('/dev/null')) } catch {}
    try { steps() } catch (thrown) { error = thrown }
    for (const fd of fds) closeSync(fd)
    console.log(error.code, error.syscall, error.hint)`
  const limited = 'ulimit -n 100; exec "$0" "$@"'
  const { stdout, stderr } = await command('sh', ['-c', limited, process.execPath, ...script(text)])
  expect({ stdout, stderr }).toEqual({ stdout: 'EMFILE pidfd_open undefined\n', stderr: '' })
})
