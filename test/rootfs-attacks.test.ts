// What a root that somebody else has made may lead to: paths of his that are links, a working directory of his choice.
import { describe, expect, test } from '@jest/globals'
import { existsSync, mkdirSync, mkdtempSync, symlinkSync } from 'node:fs'
import { run, spawn } from 'fancyproc'
import {
  bind,
  chdir,
  fchdir,
  makePrivate,
  mapUser,
  mkdir,
  mount,
  open,
  openat2,
  pivotRoot,
  procfs,
  sendFd,
  type Steps,
  umount2,
} from 'fancyproc/steps'
import { isolated, rights } from './support/isolated.ts'
import { on } from './support/machine.ts'
import { scratch } from './support/scratch.ts'

const directory = scratch()

/** A root with this machine's programs and a procfs, and what follows in it; nothing of the old one is left. */
function inside(before: Steps, after: Steps): ReturnType<typeof isolated> {
  const root = mkdtempSync(directory('root-'))
  for (const name of ['proc', 'usr']) mkdirSync(`${root}/${name}`)
  for (const name of ['bin', 'lib', 'lib64']) symlinkSync(`usr/${name}`, `${root}/${name}`)
  return isolated(
    ['mnt', 'pid'],
    before,
    makePrivate('/', { recursive: true }),
    bind(root, root, { recursive: true }),
    bind('/usr', `${root}/usr`, { recursive: true }),
    mount({ source: 'proc', target: `${root}/proc`, type: 'proc' }),
    chdir(root),
    pivotRoot('.', '.'),
    umount2('.', 'MNT_DETACH'),
    chdir('/'),
    after,
  )
}

/** Where a program is that was sent there, or why it was not. */
async function sent(options: ReturnType<typeof isolated>): Promise<string> {
  try {
    const { stdout, stderr } = await run('/bin/pwd', ['-P'], options)
    return stdout.startsWith('/') ? stdout.trim() : `outside: ${stderr}${stdout}`
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code)
  }
}

// The descriptors of the setup are CLOEXEC, but a working directory outlives them.
on(rights).describe('a working directory that is the way to a descriptor (CVE-2024-21626)', () => {
  const numbers = [3, 4, 5, 6, 7, 8, 9]
  const way = (fd: number): Steps => chdir(`/proc/self/fd/${String(fd)}`)

  test('there is nothing of this process', async () => {
    for (const fd of numbers) expect(await sent(inside([], way(fd)))).not.toMatch(/^(outside|\/)/)
  })

  test('nor the procfs of before the steps', async () => {
    const file = open('self/mounts', 'O_RDONLY', undefined, { dirfd: procfs })
    for (const fd of numbers) expect(await sent(inside([], [way(fd), file]))).not.toMatch(/^(outside|\/)/)
  })

  test('nor a directory that an earlier step has opened', async () => {
    const old = open('/', 'O_PATH')
    const later = (fd: number): Steps => [way(fd), sendFd('old', old)]
    for (const fd of numbers) expect(await sent(inside(old, later(fd)))).not.toMatch(/^(outside|\/)/)
  })
})

describe('a link where a directory is to be (CVE-2026-41579, CVE-2025-31133)', () => {
  /** A root whose /dev leads to a directory beside it. */
  function misleading(): { root: string; outside: string } {
    const root = mkdtempSync(directory('misleading-'))
    const outside = mkdtempSync(directory('outside-'))
    symlinkSync(outside, `${root}/dev`)
    return { root, outside }
  }

  const looks = (outside: string, ...steps: Steps[]): Promise<{ stdout: string }> =>
    run('ls', [outside], isolated(['mnt'], makePrivate('/', { recursive: true }), ...steps))
  const tmpfs = (target: string): Steps => mount({ source: 'tmpfs', target, type: 'tmpfs' })

  on(rights).test('leads out whoever goes by its path', async () => {
    const { root, outside } = misleading()
    const { stdout } = await looks(outside, tmpfs(`${root}/dev`), mkdir(`${outside}/mark`))
    expect(stdout).toBe('mark\n')
    expect(existsSync(`${outside}/mark`)).toBe(false)
  })

  on(rights).test('does not lead out who opens it within the root, enters it and mounts there', async () => {
    const { root, outside } = misleading()
    const top = open(root, 'O_PATH')
    const within = (name: string): ReturnType<typeof openat2> =>
      openat2(name, { dirfd: top, flags: ['O_PATH', 'O_DIRECTORY'], resolve: 'RESOLVE_IN_ROOT' })
    const dev = within('dev')
    const refused = spawn('true', isolated(['mnt'], top, dev, fchdir(dev), tmpfs('.')))
    await expect(refused.exited).rejects.toMatchObject({ code: 'ENOENT', syscall: 'openat2' })
    // What has been opened stays that, whatever is put in its place: the mount comes to lie on it, wherever it is by then.
    mkdirSync(`${root}/real`)
    const real = within('real')
    const swapped = [open(root, 'O_PATH'), bind(outside, `${root}/real`)]
    const { stdout } = await looks(
      outside,
      top,
      real,
      swapped,
      fchdir(real),
      tmpfs('.'),
      mkdir(`${outside}/mark`),
    )
    expect(stdout).toBe('mark\n')
    expect(existsSync(`${outside}/mark`)).toBe(true)
  })
})

on({ userns: true, kernel: '5.11' }).test(
  'an overlay of all of this root, whose mounts are locked: EINVAL',
  async () => {
    const at = (name: string): string => directory('overlay', name)
    for (const name of ['', 'upper', 'work', 'merged']) mkdirSync(at(name))
    const data = `lowerdir=/,upperdir=${at('upper')},workdir=${at('work')},userxattr`
    const overlay = mount({ source: 'overlay', target: at('merged'), type: 'overlay', data })
    const child = spawn('true', { stdio: 'ignore', namespaces: ['user', 'mnt'], steps: [mapUser(), overlay] })
    await expect(child.exited).rejects.toMatchObject({ code: 'EINVAL', syscall: 'mount' })
  },
)
