// Steps, run for real in a child: the kernel is asked what has become of it. Namespaces have a file of their own.
import { describe, expect, test } from '@jest/globals'
import {
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { type Process, run, spawn } from 'fancyproc'
import {
  chdir,
  childFd,
  dup,
  ioctl,
  mkdir,
  mknod,
  open,
  openat2,
  prctl,
  setChildSubreaper,
  setdomainname,
  sethostname,
  setName,
  setNoNewPrivs,
  setrlimit,
  setsid,
  sigaction,
  type Steps,
  symlink,
  umask,
  windowSize,
  writeFile,
} from 'fancyproc/steps'
import { isolated, rights } from './support/isolated.ts'
import { on } from './support/machine.ts'
import { comm, limits, session, statusField, strings, status } from './support/proc.ts'
import { begun, blocked, scratch } from './support/scratch.ts'

const path = scratch()
let count = 0

/** A new directory. */
function directory(): string {
  const name = path(`directory${String(count++)}`)
  mkdirSync(name)
  return name
}

async function sleeper(...steps: Steps[]): Promise<Process> {
  return spawn('sleep', ['1000'], { steps }).spawned
}

describe('files', () => {
  test('mkdir, symlink, mknod, writeFile, from a dirfd or the working directory', async () => {
    const top = directory()
    const fd = openSync(top, 'r')
    const inside = open('.', ['O_PATH', 'O_DIRECTORY'])
    const steps = [
      umask(0),
      mkdir('a', 0o711, { dirfd: fd }),
      chdir(top),
      inside,
      mkdir('b', 0o1777),
      mkdir('c', 0o700, { dirfd: inside }),
      symlink('a/b', 'link', { dirfd: inside }),
      mknod('fifo', 0o640, 'S_IFIFO', { dirfd: fd }),
      mknod('regular', 0o600, 'S_IFREG'),
      mknod('socket', 0o600, 'S_IFSOCK'),
      writeFile('file', 'text\n', { dirfd: inside, mode: 0o604 }),
      writeFile('file', Uint8Array.of(0, 255), { flags: 'O_APPEND' }),
      writeFile('empty', ''),
    ]
    await run('true', [], { steps })
    closeSync(fd)
    const mode = (name: string): string => lstatSync(`${top}/${name}`).mode.toString(8)
    expect(['a', 'b', 'c', 'fifo', 'regular', 'socket', 'file'].map(mode)).toEqual([
      '40711', '41777', '40700', '10640', '100600', '140600', '100604',
    ]) // prettier-ignore
    expect(readlinkSync(`${top}/link`)).toBe('a/b')
    expect(readFileSync(`${top}/file`)).toEqual(Buffer.from([...Buffer.from('text\n'), 0, 255]))
    expect(readFileSync(`${top}/empty`)).toHaveLength(0)
  })

  test('much is written, whatever write(2) takes at once', async () => {
    const data = Buffer.alloc(3 << 20, 'some text, ')
    const file = path('large')
    await run('true', [], { steps: [writeFile(file, data)] })
    expect(readFileSync(file).equals(data)).toBe(true)
  })

  test('what a step was given is what it does, whatever becomes of the array', async () => {
    const data = Uint8Array.from(Buffer.from('before'))
    const file = path('changed')
    const step = writeFile(file, data)
    data.fill(0x78)
    await run('true', [], { steps: [step] })
    expect(readFileSync(file, 'utf8')).toBe('before')
  })

  on({ user: 'root' }).test('mknod of a device', async () => {
    const top = directory()
    const steps = [
      mknod(`${top}/null`, 0o666, 'S_IFCHR', { major: 1, minor: 3 }),
      mknod(`${top}/block`, 0o600, 'S_IFBLK', { major: 0xfff, minor: 0xabcde }),
    ]
    await run('true', [], { steps })
    const device = (name: string): unknown =>
      run('stat', ['-c', '%F %t:%T', `${top}/${name}`]).then(({ stdout }) => stdout)
    expect(await device('null')).toBe('character special file 1:3\n')
    expect(await device('block')).toBe('block special file fff:abcde\n')
  })

  test('an errno that is ignored counts as success, another does not', async () => {
    const top = directory()
    const steps = [
      mkdir(`${top}/x`),
      mkdir(`${top}/x`, 0o777, { ignore: ['EEXIST'] }),
      symlink('y', `${top}/x`, { ignore: ['ENOENT', 'EEXIST'] }),
    ]
    await run('true', [], { steps })
    const again = run('true', [], { steps: [mkdir(`${top}/x`, 0o777, { ignore: ['ENOENT'] })] })
    await expect(again).rejects.toMatchObject({ code: 'EEXIST' })
  })

  test('openat2 stays where it is told to', async () => {
    const top = directory()
    mkdirSync(`${top}/etc`)
    writeFileSync(`${top}/etc/passwd`, 'inside\n')
    const root = open(top, ['O_PATH', 'O_DIRECTORY'])
    const link = [symlink('/etc/passwd', `${top}/link`), root]
    const inRoot = openat2('link', { dirfd: root, resolve: 'RESOLVE_IN_ROOT' })
    const { stdout } = await run('cat', [], { steps: [link, inRoot, dup(inRoot, 0)] })
    expect(stdout).toBe('inside\n')
    for (const [resolve, code] of [
      ['RESOLVE_BENEATH', 'EXDEV'],
      ['RESOLVE_NO_SYMLINKS', 'ELOOP'],
    ] as const) {
      const refused = run('true', [], { steps: [root, openat2('link', { dirfd: root, resolve })] })
      await expect(refused).rejects.toMatchObject({ code, syscall: 'openat2', path: 'link' })
    }
    const made = openat2('made', { dirfd: root, flags: ['O_CREAT', 'O_WRONLY'], mode: 0o640 })
    await run('true', [], { steps: [umask(0), root, made] })
    expect(statSync(`${top}/made`).mode).toBe(0o100640)
  })
})

describe('names', () => {
  on(rights).test('hostname and domainname', async () => {
    const options = isolated(['uts'], sethostname('höst'), setdomainname('a'.repeat(64)))
    const { stdout } = await run('cat', ['/proc/sys/kernel/hostname', '/proc/sys/kernel/domainname'], options)
    expect(stdout).toBe(`höst\n${'a'.repeat(64)}\n`)
    expect(readFileSync('/proc/sys/kernel/hostname', 'utf8')).not.toBe('höst\n')
  })

  test("of the task, until its program gives it the program's", async () => {
    const child = spawn('true', { steps: [setName('fifteen letters'), blocked(path('named'))] })
    const pid = await begun(child)
    expect(comm(pid)).toBe('fifteen letters')
    await child[Symbol.asyncDispose]()
  })
})

describe('the process', () => {
  test('no_new_privs, and other prctls', async () => {
    const { stdout } = await run('cat', ['/proc/self/status', '/proc/self/timerslack_ns'], {
      steps: [setNoNewPrivs(), prctl('PR_SET_TIMERSLACK', 123456), prctl('PR_SET_THP_DISABLE', 1)],
    })
    expect(statusField(stdout, 'NoNewPrivs')).toBe('1')
    expect(statusField(stdout, 'THP_enabled')).toBe('0')
    expect(stdout).toMatch(/^123456$/m)
  })

  test('a subreaper gets the orphans', async () => {
    const script = 'sh -c "sleep 1000 & echo \\$!"; exec sleep 1000'
    const child = spawn('sh', ['-c', script], { steps: [setChildSubreaper()] })
    const [chunk] = await new Promise<Buffer[]>((resolve) =>
      child.stdout!.once('data', (data: Buffer) => {
        resolve([data])
      }),
    )
    const orphan = Number(chunk!.toString())
    await child.spawned
    while (strings(child.pid, 'cmdline')[0] !== 'sleep') await new Promise(setImmediate)
    expect(status(orphan, 'PPid')).toBe(String(child.pid))
    process.kill(orphan, 'SIGKILL')
    await child[Symbol.asyncDispose]()
  })

  test('limits', async () => {
    await using child = await sleeper(
      setrlimit('RLIMIT_CORE', 0),
      setrlimit('RLIMIT_NOFILE', 77, 88),
      setrlimit('RLIMIT_FSIZE', 2n ** 40n, 'infinity'),
    )
    expect(limits(child.pid, 'Max core file size')).toEqual(['0', '0'])
    expect(limits(child.pid, 'Max open files')).toEqual(['77', '88'])
    expect(limits(child.pid, 'Max file size')).toEqual([String(2n ** 40n), 'unlimited'])
  })

  test('a limit that the rest of the setup has to live with', async () => {
    const steps = [setrlimit('RLIMIT_NOFILE', 3), open('/etc/passwd')]
    await expect(run('true', [], { steps })).rejects.toMatchObject({ code: 'EMFILE', step: 1 })
  })

  test('dispositions of signals', async () => {
    const steps = [
      sigaction('SIGPIPE', 'SIG_IGN'),
      sigaction('SIGINT', 'SIG_IGN'),
      sigaction('SIGINT', 'SIG_DFL'),
    ]
    const { stdout } = await run('cat', ['/proc/self/status'], { steps })
    expect(BigInt(`0x${statusField(stdout, 'SigIgn')}`)).toBe(1n << 12n)
    await expect(run('true', [], { steps: [sigaction('SIGKILL', 'SIG_IGN')] })).rejects.toMatchObject({
      code: 'EINVAL',
    })
  })

  test('a session; only one', async () => {
    await using child = await sleeper(setsid())
    expect(session(child.pid)).toBe(child.pid)
    await expect(run('true', [], { detached: true, steps: [setsid()] })).rejects.toMatchObject({
      code: 'EPERM',
      syscall: 'setsid',
      hint: expect.stringContaining('detached') as unknown,
    })
  })

  test('ioctls of a terminal', async () => {
    const steps = [windowSize(childFd(0), 91, 19)]
    expect((await run('stty', ['size'], { stdio: 'pty', steps })).stdout).toBe('19 91\r\n')
    await expect(run('true', [], { steps: [ioctl(childFd(0), 'TIOCNOTTY')] })).rejects.toMatchObject({
      code: 'ENOTTY',
      syscall: 'ioctl',
    })
  })
})
