// `strace -f` of a run: a fixed prologue, exactly the documented calls of each step in the written order, execve.
import { expect, test } from '@jest/globals'
import { mkdirSync } from 'node:fs'
import { command, script } from './support/fork.ts'
import { facts, on } from './support/machine.ts'
import { scratch } from './support/scratch.ts'
import { type HelperTrace, helperTrace, normalized, plain } from './support/trace.ts'

const path = scratch()
let count = 0

/** Runs a plan, given as the text of an object with options, under strace. */
async function traced(options: string): Promise<HelperTrace & { written: string[] }> {
  const file = path(`trace${String(count++)}`)
  const module = `
    import { spawn } from 'fancyproc'
    import { ${names.join(', ')}, format } from 'fancyproc/steps'
    const { file = '/bin/true', ...options } = ${options}
    console.log(format(options.steps ?? []))
    console.log((await spawn(file, [], options).exited).code)`
  const { stdout, stderr } = await command('strace', [
    '-f',
    '-s',
    '4096',
    '-o',
    file,
    process.execPath,
    ...script(module),
  ])
  expect(stderr).toBe('')
  const lines = stdout.trimEnd().split('\n')
  expect(lines.pop()).toBe('0')
  return { ...helperTrace(file), written: lines.filter(Boolean) }
}

const names = [
  'bind', 'chdir', 'childFd', 'clone', 'close', 'closeRange', 'dup', 'fchdir', 'makePrivate', 'mapUser', 'mkdir', 'mknod',
  'mount', 'open', 'openat2', 'openpty', 'pivotRoot', 'remount', 'sendFd', 'setdomainname', 'setgroups', 'sethostname',
  'setName', 'setNoNewPrivs', 'setns', 'setPdeathsig', 'setresgid', 'setresuid', 'setrlimit', 'setsid', 'sigaction',
  'symlink', 'umask', 'umount2', 'unshare', 'windowSize', 'writeFile',
] // prettier-ignore

const machine = { tools: 'strace', sanitizer: false, userns: true } as const

on(machine).describe('between prologue and execve', () => {
  test('a sandbox: each call of each step, and no other', async () => {
    const top = path('root')
    mkdirSync(top)
    const { written, ...trace } = await traced(`(() => {
      const directory = open('.', ['O_PATH', 'O_DIRECTORY'])
      const file = openat2('etc/motd', { dirfd: directory, resolve: 'RESOLVE_IN_ROOT' })
      return {
        namespaces: ['user', 'mnt', 'uts', 'pid', 'ipc', 'net', 'cgroup'],
        file: '/bin/true',
        steps: [
          mapUser(),
          [setsid(), [sethostname('c1'), setdomainname('d\\x01é')]],
          makePrivate('/', { recursive: true }),
          mount({ source: 'tmpfs', target: ${JSON.stringify(top)}, type: 'tmpfs', flags: ['MS_NOSUID'], data: 'mode=755' }),
          chdir(${JSON.stringify(top)}),
          ['bin', 'etc', 'lib', 'lib64', 'usr', 'old'].map((name) => mkdir(name)),
          mkdir('etc', 0o755, { ignore: ['EEXIST'] }),
          ['bin', 'lib', 'lib64', 'usr'].map((name) => bind('/' + name, name, { recursive: true })),
          symlink('usr/x', 'link'), mknod('fifo', 0o600, 'S_IFIFO'),
          umask(0o27),
          writeFile('etc/motd', 'welcome\\n'), writeFile('etc/motd', '', { flags: 'O_APPEND' }),
          directory, file, dup(file, 7), sendFd('file', file), dup(childFd(7), 9), close(9), fchdir(directory),
          pivotRoot('.', 'old'), umount2('old', 'MNT_DETACH'), chdir('/'),
          setName('named'), sigaction('SIGHUP', 'SIG_IGN'),
          setrlimit('RLIMIT_NOFILE', 256, 512), setrlimit('RLIMIT_CORE', 0, 'infinity'),
          closeRange(3),
          setresgid(0), setresuid(0, null, -1),
          setNoNewPrivs(),
        ],
      }
    })()`)
    expect(written.length).toBeGreaterThan(50)
    expect(normalized(trace)).toEqual(written.map((line) => plain(line)))
  })

  test('a plan that goes on in new processes', async () => {
    const { written, ...trace } = await traced(`{
      steps: [unshare('user'), mapUser(), clone('uts'), sethostname('inside'), unshare('pid'), clone(), chdir('/'), setPdeathsig('SIGTERM')],
    }`)
    expect(normalized(trace)).toEqual(written.map((line) => plain(line)))
    expect(written.filter((line) => line.startsWith('clone3'))).toHaveLength(2)
  })

  test('a terminal of the sandbox', async () => {
    const { written, ...trace } = await traced(`{
      stdio: 'pty',
      pty: { columns: 80, rows: 25 },
      steps: [openpty('/dev/ptmx'), windowSize(childFd(0), 1, 1)],
    }`)
    expect(normalized(trace)).toEqual(written.map((line) => plain(line)))
  })

  test('nothing for no steps', async () => {
    const { written, ...trace } = await traced('{}')
    expect([written, trace.steps]).toEqual([[], []])
  })
})

on(machine).describe('around them', () => {
  const calls = ({ prologue }: HelperTrace): string[] =>
    prologue
      .map(({ name }) => name)
      .filter((name, i, all) => name !== all[i - 1])
      // Linux 5.10 has no CLOSE_RANGE_CLOEXEC: each descriptor by itself.
      .filter((name, i, all) => !(name === 'fcntl' && all[i - 1] === 'close_range'))

  test('the prologue is always the same', async () => {
    const plainRun = await traced('{}')
    const expected = [
      'mmap',
      'close_range',
      'prctl',
      'ppoll',
      'rt_sigaction',
      'rt_sigprocmask',
      'dup3',
      'prlimit64',
    ]
    expect(calls(plainRun)).toEqual(expected)
    expect(plainRun.prologue.at(-1)!.args).toMatch(/^0, RLIMIT_NOFILE, \{rlim_cur=\d+/)
    expect(calls(await traced("{ steps: [chdir('/'), umask(0)] }"))).toEqual(expected)
    expect(calls(await traced('{ detached: true }'))).toEqual(expected.toSpliced(6, 0, 'setsid'))
    const withMaps = await traced("{ namespaces: ['user'], steps: mapUser() }")
    expect(calls(withMaps)).toEqual([
      ...expected.slice(0, 4), 'prctl', 'capget', 'capset', ...expected.slice(4, 7),
      'openat', 'fstatfs', 'fcntl', 'close', 'prlimit64',
    ]) // prettier-ignore
  })

  test('the end: the parent-death signal is disarmed, then nothing but execve', async () => {
    const { end } = await traced("{ file: 'true', env: { PATH: '/nonexistent:/bin' }, steps: [chdir('/')] }")
    expect(end.map(({ name, args }) => `${name}(${args.replace(/, 0x.*/, '')})`)).toEqual([
      'prctl(PR_SET_PDEATHSIG, 0)',
      'execve("/nonexistent/true", ["true"])',
      'execve("/bin/true", ["true"])',
    ])
  })

  test('a parent-death signal of the caller stays: neither armed again nor disarmed', async () => {
    const { steps, end } = await traced(
      "{ steps: [chdir('/'), setPdeathsig('SIGUSR1'), umask(0), unshare([])] }",
    )
    expect(steps.filter(({ name }) => name === 'prctl').map(({ args }) => args)).toEqual([
      'PR_SET_PDEATHSIG, SIGUSR1',
    ])
    expect(steps.some(({ name }) => name === 'ppoll')).toBe(false)
    expect(end.map(({ name }) => name)).toEqual(['execve'])
  })

  test('it is armed again whenever the kernel has forgotten it', async () => {
    const id = facts.user === 'root' ? '0' : String(process.getuid!())
    const { steps } = await traced(`{ steps: [setresuid(${id}), chdir('/'), unshare([])] }`)
    expect(steps.map(({ name }) => name)).toEqual([
      'setresuid', 'prctl', 'ppoll', 'chdir', 'getcwd', 'unshare', 'prctl', 'ppoll',
    ]) // prettier-ignore
  })
})
