// Mounts and roots, made by steps in a child: by the mountinfo that it sees.
import { describe, expect, test } from '@jest/globals'
import { closeSync, mkdirSync, openSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs'
import { type Process, run, spawn } from 'fancyproc'
import {
  bind,
  chdir,
  chroot,
  clone,
  fchdir,
  gidMap,
  makePrivate,
  makeShared,
  makeSlave,
  makeUnbindable,
  mapUser,
  mkdir,
  mount,
  open,
  overlayData,
  pivotRoot,
  remount,
  type Steps,
  uidMap,
  umask,
  umount2,
  unshare,
  writeFile,
} from 'fancyproc/steps'
import { parseMountinfo, type Mount } from '../lib/mountinfo.ts'
import { isolated, rights } from './support/isolated.ts'
import { facts, on } from './support/machine.ts'
import { scratch } from './support/scratch.ts'

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

  const overlays = facts.user === 'root' ? rights : { ...rights, kernel: '5.11' }
  on(overlays).test('an overlay', async () => {
    const top = directory()
    for (const name of ['lower', 'a:b,c', 'm']) mkdirSync(`${top}/${name}`)
    writeFileSync(`${top}/lower/low`, '')
    writeFileSync(`${top}/a:b,c/high`, '')
    const data = overlayData({
      lowerdir: [`${top}/a:b,c`, `${top}/lower`],
      upperdir: `${top}/m/u`,
      workdir: `${top}/m/w`,
      options: facts.user === 'root' ? [] : ['userxattr'],
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

on({ userns: true }).describe('in a user namespace', () => {
  test('a directory is not bound without the locked mounts below it; the error says how it is', async () => {
    const top = directory()
    const bound = (recursive: boolean): Promise<unknown> => {
      const steps = [mapUser(), makePrivate('/', { recursive: true }), bind('/', top, { recursive })]
      return spawn('true', [], { namespaces: ['user', 'mnt'], steps }).exited
    }
    await expect(bound(false)).rejects.toMatchObject({
      code: 'EINVAL',
      syscall: 'mount',
      hint: expect.stringMatching(/submounts that are locked .*bind recursively$/) as unknown,
    })
    expect(await bound(true)).toMatchObject({ code: 0 })
  })

  test('a procfs would reveal what is mounted over the one above; the error says so', async () => {
    const top = directory()
    const root = { inside: 0, outside: 0, count: 1 }
    // What is mounted in the outer one is locked in the inner one.
    const revealed = (over: Steps): Promise<unknown> => {
      const steps = [
        [mapUser(), makePrivate('/', { recursive: true }), over],
        [unshare(['user', 'mnt', 'pid']), uidMap(root), gidMap(root), clone()],
        mount({ source: 'proc', target: top, type: 'proc' }),
      ]
      return spawn('true', [], { namespaces: ['user', 'mnt'], steps }).exited
    }
    await expect(
      revealed(mount({ source: 'tmpfs', target: '/proc/sys', type: 'tmpfs' })),
    ).rejects.toMatchObject({
      code: 'EPERM',
      syscall: 'mount',
      dest: top,
      hint: expect.stringMatching(/nothing mounted over it \('mount too revealing'\)$/) as unknown,
    })
    expect(await revealed([])).toMatchObject({ code: 0 })
  })
})
