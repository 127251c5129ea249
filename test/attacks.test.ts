// Attacks that this field has seen, each tried: by the program, by who lives where a child goes, by what the steps find.
import { describe, expect, test } from '@jest/globals'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Process, run, spawn, type SpawnOptions } from 'fancyproc'
import {
  bind,
  chdir,
  childFd,
  chroot,
  clone,
  close,
  makePrivate,
  mapUser,
  setgroups,
  setNoNewPrivs,
  setns,
  setresgid,
  setresuid,
  type Steps,
  symlink,
  unshare,
} from 'fancyproc/steps'
import { command, script as module } from './support/fork.ts'
import { facts, on, patient, scaled } from './support/machine.ts'
import { fds, statusField } from './support/proc.ts'
import { begun, blocked, scratch } from './support/scratch.ts'

const directory = scratch()
const root = facts.user === 'root'
const rights = root ? {} : { userns: true }
const quiet: SpawnOptions = { stdio: 'ignore' }

/** A mount namespace, for whoever we are. */
const mounts = (...steps: Steps[]): SpawnOptions =>
  root
    ? { namespaces: ['mnt'], steps: [makePrivate('/', { recursive: true }), ...steps] }
    : { namespaces: ['user', 'mnt'], steps: [mapUser(), ...steps] }

/** Lets go on who waits in `blocked` steps. */
async function release(fifo: string, child: Process): Promise<void> {
  writeFileSync(fifo, '')
  expect(await child.exited).toMatchObject({ code: 0 })
  await child[Symbol.asyncDispose]()
}

const refusal = (action: () => unknown): string | undefined => {
  try {
    action()
    return undefined
  } catch (error) {
    return (error as NodeJS.ErrnoException).code
  }
}

describe('overwriting the runtime (CVE-2019-5736)', () => {
  test('what runs during the setup is a sealed image, not Node', async () => {
    const fifo = directory('exe')
    const child = spawn('true', [], { ...quiet, steps: blocked(fifo) })
    const exe = `/proc/${String(await begun(child))}/exe`
    expect(readlinkSync(exe)).toMatch(/memfd:fancyproc:helper|fancyproc-helper$/)
    const image = openSync(exe, 'r')
    const before = readFileSync(exe)
    expect(refusal(() => openSync(exe, 'r+'))).toBe('ETXTBSY')
    await release(fifo, child)

    // Nobody runs it any more, which was all that kept others from writing.
    const again = `/proc/self/fd/${String(image)}`
    const attempts = [
      (fd: number) => writeSync(fd, 'x', 0),
      (fd: number) => {
        ftruncateSync(fd, 0)
      },
      (fd: number) => {
        ftruncateSync(fd, before.length + 1)
      },
    ]
    for (const attempt of attempts) {
      const refused = refusal(() => {
        const fd = openSync(again, constants.O_RDWR)
        try {
          attempt(fd)
        } finally {
          closeSync(fd)
        }
      })
      expect(refused).toBe('EPERM')
    }
    expect(readFileSync(again)).toEqual(before)
    closeSync(image)
  })

  test('the program sees neither, by any number', async () => {
    const { stdout } = await run('sh', ['-c', 'readlink /proc/self/exe /proc/self/fd/*; cat /proc/self/maps'])
    expect(stdout).toContain('/readlink')
    expect(stdout).not.toMatch(/fancyproc|memfd|node/)
  })
})

describe('leaked descriptors (CVE-2024-21626)', () => {
  test('none, though this process has 200 that are not CLOEXEC', () => {
    const file = openSync('/', constants.O_RDONLY)
    // Node makes those CLOEXEC that it finds at its start, up to a gap.
    const extra = [...Array<'ignore'>(20).fill('ignore'), ...Array<number>(200).fill(file)]
    const program = fileURLToPath(new URL('programs/extra-fds.mjs', import.meta.url))
    const text = execFileSync(process.execPath, [program], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit', ...extra],
      timeout: patient(25_000),
    })
    closeSync(file)
    const { own, lists } = JSON.parse(text) as { own: number[]; lists: number[][] }
    expect(own.length).toBeGreaterThan(200)
    const [plain, moved, fourth, ...together] = lists
    // 3 is the directory that ls reads, if it isn't given.
    expect([plain, moved, fourth]).toEqual([
      [0, 1, 2, 3],
      [0, 1, 2, 3],
      [0, 1, 2, 3, 4],
    ])
    expect(together).toEqual(Array(20).fill([0, 1, 2, 3]))
  })

  test('during the steps there are those of the plan, and none of siblings', async () => {
    const fifos = [directory('own1'), directory('own2')]
    const children = fifos.map((fifo) => spawn('true', [], { steps: blocked(fifo) }))
    const pids = await Promise.all(children.map(begun))
    const [one, other] = pids.map((pid) => Object.values(fds(pid)).filter((to) => to.startsWith('pipe:')))
    expect(one).toHaveLength(new Set(one).size * 2)
    expect(new Set(one).size).toBe(3)
    expect(one!.filter((pipe) => other!.includes(pipe))).toEqual([])
    await Promise.all(children.map((child, i) => release(fifos[i]!, child)))
  })

  test('a step cannot close the way to the parent under our feet', async () => {
    const fifo = directory('control')
    const probe = spawn('true', [], { ...quiet, steps: blocked(fifo) })
    const table = Object.entries(fds(await begun(probe)))
    const [control] = table.find(([, to]) => to.startsWith('socket:'))!
    await release(fifo, probe)
    const child = spawn('true', [], { ...quiet, steps: [close(childFd(Number(control)))] })
    await expect(child.exited).rejects.toMatchObject({ code: 'EBADF', step: 0 })
  })
})

describe('who lives in a namespace that a child joins (CVE-2016-9962)', () => {
  on({ userns: true }).test('cannot look at it before it is the program', async () => {
    const victim = await spawn('sleep', ['100'], {
      ...quiet,
      namespaces: ['user', 'uts'],
      steps: mapUser(),
    }).spawned
    const join = setns(victim.pidfd!, ['user', 'uts'])
    const fifo = directory('join')
    const joiner = spawn('true', [], { ...quiet, steps: [join, ...blocked(fifo)] })
    const pid = await begun(joiner)

    // Root in there, with all capabilities: he may look at others of that namespace.
    const look = async (at: number): Promise<string[]> => {
      const files = ['environ', 'maps', 'mem', 'auxv', 'exe', 'cwd/.', 'fd/0']
      const open = '{ if [ $f = exe ]; then readlink $f; else : <$f; fi; } 2>/dev/null && echo $f'
      const script = `cd /proc/${String(at)} && for f in ${files.join(' ')}; do ${open}; done; true`
      return (await run('sh', ['-c', script], { steps: [join] })).stdout.split('\n').filter(Boolean)
    }
    expect(await look(victim.pid!)).toEqual(expect.arrayContaining(['environ', 'maps', 'mem', 'auxv']))
    expect(await look(pid)).toEqual([])
    await release(fifo, joiner)
    await victim[Symbol.asyncDispose]()
  })
})

describe('writes to /proc that are redirected (CVE-2019-16884, CVE-2025-52881)', () => {
  on({ userns: true }).test('an id map goes to the procfs of before the steps', async () => {
    const trap = directory('proc')
    mkdirSync(`${trap}/self`, { recursive: true })
    for (const name of ['uid_map', 'gid_map', 'setgroups']) writeFileSync(`${trap}/self/${name}`, 'fake')
    const { stdout } = await run('sh', ['-c', 'id -u; id -g; cat /proc/self/*'], {
      namespaces: ['user', 'mnt'],
      steps: [bind(trap, '/proc'), mapUser({ uid: 3, gid: 4 })],
    })
    expect(stdout).toBe('3\n4\nfakefakefake')
  })

  // A sanitizer wants one as well.
  on({ ...rights, tools: ['unshare', 'mount'], sanitizer: false }).test(
    'what was no procfs from the start gets none',
    async () => {
      const script = `
      import { spawn } from 'fancyproc'
      import { mapUser } from 'fancyproc/steps'
      const { exited } = spawn('true', [], { namespaces: ['user'], steps: mapUser(), stdio: 'ignore' })
      console.log(await exited.catch(({ code, syscall }) => ({ code, syscall })))`
      const trap =
        'mount -t tmpfs none /proc && mkdir /proc/self && touch /proc/self/uid_map && exec "$0" "$@"'
      const flags = root ? ['--mount'] : ['--mount', '--user', '--map-root-user']
      const node = [process.execPath, ...module(script)]
      const { stdout } = await command('unshare', [...flags, 'sh', '-c', trap, ...node])
      expect(stdout).toBe("{ code: 'ENXIO', syscall: 'open /proc' }\n")
    },
  )
})

describe('capabilities (CVE-2022-27650)', () => {
  const sets = (text: string): string[] => ['CapInh', 'CapAmb'].map((set) => statusField(text, set))
  const none = ['0000000000000000', '0000000000000000']
  const cases: [name: string, options: () => SpawnOptions][] = [
    ['in a user namespace', () => ({ namespaces: ['user'], steps: mapUser() })],
    ['in one without ids', () => ({ namespaces: ['user'] })],
    ['as nobody in it', () => ({ namespaces: ['user'], steps: mapUser({ uid: 65534, gid: 65534 }) })],
    ['in one that a step makes', () => ({ steps: [unshare('user'), mapUser(), clone('user')] })],
  ]
  for (const [name, options] of cases) {
    on({ userns: true }).test(`none inheritable or ambient ${name}`, async () => {
      expect(sets((await run('cat', ['/proc/self/status'], options())).stdout)).toEqual(none)
    })
  }

  on({ userns: true }).test('nobody in a user namespace has any', async () => {
    const { stdout } = await run('cat', ['/proc/self/status'], {
      namespaces: ['user'],
      steps: mapUser({ uid: 65534, gid: 65534 }),
    })
    expect([statusField(stdout, 'CapPrm'), statusField(stdout, 'CapEff')]).toEqual(none)
  })
})

on(rights).test("a program is looked up in the child's own root", async () => {
  const bin = directory('bin')
  const inner = directory('root')
  const make = (path: string, says: string): void => {
    mkdirSync(path, { recursive: true })
    writeFileSync(`${path}/tool`, `#!/bin/sh\necho ${says}\n`, { mode: 0o755 })
  }
  make(bin, 'outside')
  make(`${inner}${bin}`, 'inside')
  mkdirSync(`${inner}/usr`)
  const system = ['bin', 'lib', 'lib64'].map((name) => symlink(`usr/${name}`, `${inner}/${name}`))
  const options = mounts(system, bind('/usr', `${inner}/usr`, { recursive: true }), chroot(inner), chdir('/'))
  const env = { PATH: bin }
  expect((await run('tool', [], { env })).stdout).toBe('outside\n')
  expect((await run('tool', [], { env, ...options })).stdout).toBe('inside\n')
})

on({ user: 'root' }).test('a pid that another has got: no signal reaches him', async () => {
  const first = await spawn('sleep', ['100'], quiet).spawned
  const { pid, pidfd } = first
  first.kill('SIGKILL')
  await first.exited
  const second = await spawn('sleep', ['100'], { ...quiet, setTid: [pid!] }).spawned
  expect(second.pid).toBe(pid)
  expect(first.kill('SIGKILL')).toBe(false)
  pidfd?.close()
  second.kill('SIGUSR1')
  expect(await second.exited).toMatchObject({ signal: 'SIGUSR1' })
})

describe('no_new_privs', () => {
  on({ user: 'root' }).test('set by a step, it keeps a set-user-ID program from being one', async () => {
    const id = directory('id')
    copyFileSync('/usr/bin/id', id)
    chmodSync(id, 0o4755)
    const user = [setgroups([]), setresgid(12345), setresuid(12345)]
    expect((await run(id, [], { steps: user })).stdout).toContain('euid=0')
    expect((await run(id, [], { steps: [setNoNewPrivs(), user] })).stdout).not.toContain('euid')
  })

  test('it persists, in children too', async () => {
    const script = 'cat /proc/self/status; sh -c "cat /proc/self/status"'
    const { stdout } = await run('sh', ['-c', script], { steps: [setNoNewPrivs()] })
    expect(stdout.match(/^NoNewPrivs:\s*1$/gm)).toHaveLength(2)
  })
})

test('a sibling that is slow to set up holds nothing of ours open', async () => {
  for (let i = 0; i < scaled(20); i++) {
    const fifo = directory(`slow${String(i)}`)
    // In one turn: each is cloned while the other's pipes are open here.
    const slow = spawn('true', [], { steps: blocked(fifo) })
    const others = Array.from({ length: 4 }, () => run('echo', ['through']))
    await begun(slow)
    for (const { stdout } of await Promise.all(others)) expect(stdout).toBe('through\n')
    expect(slow.pid).toBeUndefined()
    await release(fifo, slow)
  }
})
