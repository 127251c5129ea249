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
  bind,
  chdir,
  childFd,
  chroot,
  dup,
  fchdir,
  ioctl,
  makePrivate,
  makeShared,
  makeSlave,
  makeUnbindable,
  mkdir,
  mknod,
  mount,
  open,
  openat2,
  overlayData,
  pivotRoot,
  prctl,
  remount,
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
  umount2,
  windowSize,
  writeFile,
} from 'fancyproc/steps'
import { parseMountinfo, type Mount } from '../lib/mountinfo.ts'
import { isolated, rights } from './support/isolated.ts'
import { on } from './support/machine.ts'
import { limits, session, statusField, strings, status } from './support/proc.ts'
import { begun, blocked, scratch } from './support/scratch.ts'

const path = scratch()
let count = 0

/** A new directory. */
function directory(): string {
  const name = path(`directory${String(count++)}`)
  mkdirSync(name)
  return name
}

const withMounts = (...steps: Steps[]): ReturnType<typeof isolated> =>
  isolated(['mnt'], makePrivate('/', { recursive: true }), ...steps)

/** The mounts of a child as the kernel lists them, inside. */
async function mounts(...steps: Steps[]): Promise<Mount[]> {
  const { stdout } = await run('cat', ['/proc/self/mountinfo'], {
    ...withMounts(...steps),
    maxBuffer: 1 << 24,
  })
  return parseMountinfo(stdout)
}

const at = (list: Mount[], mountPoint: string): Mount | undefined =>
  list.findLast((entry) => entry.mountPoint === mountPoint)

async function sleeper(...steps: Steps[]): Promise<Process> {
  return spawn('sleep', ['1000'], { steps }).spawned
}

describe('root and directory', () => {
  test('chdir, fchdir, and what they are relative to', async () => {
    const top = directory()
    mkdirSync(`${top}/a`)
    mkdirSync(`${top}/a/b`)
    const here = async (...steps: Steps[]): Promise<string> => {
      await using child = await sleeper(...steps)
      return readlinkSync(`/proc/${String(child.pid)}/cwd`)
    }
    expect(await here(chdir(top), chdir('a'), chdir('b'), chdir('..'))).toBe(`${top}/a`)
    const fd = openSync(`${top}/a/b`, 'r')
    expect(await here(fchdir(fd))).toBe(`${top}/a/b`)
    closeSync(fd)
    const inside = open(`${top}/a`, 'O_PATH')
    expect(await here(inside, fchdir(inside))).toBe(`${top}/a`)
  })

  on(rights).test('chroot', async () => {
    const top = directory()
    await using child = await spawn(
      'sleep',
      ['1000'],
      isolated(['mnt'], bind('/', top, { recursive: true }), chroot(top), chdir('/')),
    ).spawned
    expect(readlinkSync(`/proc/${String(child.pid)}/root`)).toBe(top)
  })

  on(rights).test('pivot_root leaves nothing of the old root', async () => {
    const top = directory()
    const list = await mounts(
      bind('/', top, { recursive: true }),
      chdir(top),
      pivotRoot('.', '.'),
      umount2('.', 'MNT_DETACH'),
      chdir('/'),
    )
    expect(list[0]!.mountPoint).toBe('/')
    expect(list.filter(({ mountPoint }) => mountPoint === '/')).toHaveLength(1)
    expect(list.some(({ mountPoint }) => mountPoint === top)).toBe(false)
  })

  on(rights).test('pivot_root to what is no mount point: the hint says what to do', async () => {
    const top = directory()
    const failing = run(
      'true',
      [],
      withMounts(
        mount({ target: top, type: 'tmpfs' }),
        mkdir(`${top}/x`),
        chdir(`${top}/x`),
        pivotRoot('.', '.'),
      ),
    )
    await expect(failing).rejects.toMatchObject({
      code: 'EINVAL',
      syscall: 'pivot_root',
      hint: expect.stringContaining('mount point') as unknown,
    })
  })

  test('umask', async () => {
    const top = directory()
    const steps = [umask(0o27), mkdir(`${top}/m`), writeFile(`${top}/f`, '')]
    expect((await run('sh', ['-c', 'umask'], { steps })).stdout).toBe('0027\n')
    expect([statSync(`${top}/m`).mode & 0o777, statSync(`${top}/f`).mode & 0o777]).toEqual([0o750, 0o640])
  })
})

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

describe('mounts', () => {
  on(rights).test('a filesystem, a bind, a read-only remount, and how they propagate', async () => {
    const [top, other] = [directory(), directory()]
    const made = ['private', 'shared', 'slave', 'unbindable'].map((name) => `${top}/${name}`)
    const list = await mounts(
      mount({
        source: 'name',
        target: top,
        type: 'tmpfs',
        flags: ['MS_NOSUID', 'MS_NOEXEC'],
        data: 'size=64k,mode=711',
      }),
      made.map((target) => [mkdir(target), bind(target, target)]),
      makeShared(made[1]!),
      makeShared(made[2]!),
      makeSlave(made[2]!),
      makeUnbindable(made[3]!),
      bind(top, other),
      remount(other, ['MS_BIND', 'MS_RDONLY', 'MS_NOSUID', 'MS_NOEXEC']),
    )
    expect(at(list, top)).toMatchObject({
      type: 'tmpfs',
      source: 'name',
      options: expect.arrayContaining(['rw', 'nosuid', 'noexec']) as unknown,
      superOptions: expect.arrayContaining(['size=64k', 'mode=711']) as unknown,
      propagation: [],
    })
    expect(at(list, other)).toMatchObject({
      root: '/',
      options: expect.arrayContaining(['ro', 'nosuid']) as unknown,
    })
    expect(at(list, made[0]!)).toMatchObject({ root: '/private', propagation: [] })
    expect(at(list, made[1]!)!.propagation).toEqual([expect.stringMatching(/^shared:\d+$/)])
    expect(at(list, made[3]!)!.propagation).toEqual(['unbindable'])
    // Nothing of it is here.
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(top)
  })

  on(rights).test('procfs of its own pid namespace; umount2', async () => {
    const top = directory()
    const options = isolated(
      ['mnt', 'pid'],
      makePrivate('/', { recursive: true }),
      mount({ source: 'tmpfs', target: top, type: 'tmpfs' }),
      umount2(top),
      mount({ source: 'proc', target: '/proc', type: 'proc', flags: ['MS_NOSUID', 'MS_NODEV', 'MS_NOEXEC'] }),
    )
    const { stdout } = await run(
      'sh',
      ['-c', 'cat /proc/self/mountinfo; echo /proc/[0-9]*; cat /proc/1/comm'],
      options,
    )
    expect(stdout).not.toContain(top)
    expect(stdout).toMatch(/\/proc\/1( \/proc\/\d+)?\nsh\n$/)
  })

  on(rights).test('an overlay', async () => {
    const top = directory()
    for (const name of ['lower', 'a:b,c', 'm']) mkdirSync(`${top}/${name}`)
    writeFileSync(`${top}/lower/low`, '')
    writeFileSync(`${top}/a:b,c/high`, '')
    const data = overlayData({
      lowerdir: [`${top}/a:b,c`, `${top}/lower`],
      upperdir: `${top}/m/u`,
      workdir: `${top}/m/w`,
      options: ['userxattr'],
    })
    const options = withMounts(
      mount({ source: 'tmpfs', target: `${top}/m`, type: 'tmpfs' }),
      ['u', 'w', 'o'].map((name) => mkdir(`${top}/m/${name}`)),
      mount({ source: 'overlay', target: `${top}/m/o`, type: 'overlay', data }),
      chdir(`${top}/m/o`),
    )
    const { stdout } = await run('sh', ['-c', 'touch new; echo *; rm low; echo *; echo ../u/*'], options)
    expect(stdout).toBe('high low new\nhigh new\n../u/low ../u/new\n')
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
    expect(readFileSync(`/proc/${String(pid)}/comm`, 'utf8')).toBe('fifteen letters\n')
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
