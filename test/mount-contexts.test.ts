// SELinux contexts as options of mount(2): the labels of what is seen there.
import { describe, expect } from '@jest/globals'
import { mkdirSync, writeFileSync } from 'node:fs'
import { run, selinux } from 'fancyproc'
import {
  makePrivate,
  mkdir,
  mount,
  type MountOptions,
  overlayData,
  type Step,
  writeFile,
} from 'fancyproc/steps'
import { isolated, rights } from './support/isolated.ts'
import { facts, on } from './support/machine.ts'
import { scratch } from './support/scratch.ts'

const path = scratch()
const label = 'system_u:object_r:container_file_t:s0:c1,c2'
const other = 'system_u:object_r:container_file_t:s0:c3,c4'
let count = 0

/** Labels of files on a new filesystem. */
async function labels(
  options: Omit<MountOptions, 'target'>,
  files: string[],
  ...steps: Step[]
): Promise<string[]> {
  const target = path(`mount${String(count++)}`)
  mkdirSync(target)
  const mounted = [makePrivate('/', { recursive: true }), mount({ source: 'none', target, ...options })]
  const { stdout, stderr } = await run(
    'sh',
    ['-c', 'cd "$1" && shift && exec stat --printf="%C\\n" "$@"', 'sh', target, ...files],
    isolated(['mnt', 'pid'], mounted, steps),
  )
  expect(stderr).toBe('')
  return stdout.trimEnd().split('\n')
}

/** What the kernel tells of a new filesystem's options. */
async function superblock(options: Omit<MountOptions, 'target'>): Promise<string> {
  const target = path(`mount${String(count++)}`)
  mkdirSync(target)
  const mounted = [makePrivate('/', { recursive: true }), mount({ source: 'none', target, ...options })]
  const { stdout } = await run('cat', ['/proc/self/mountinfo'], isolated(['mnt'], mounted))
  return stdout.split('\n').find((line) => line.split(' ')[4] === target) ?? ''
}

const file = (name: string): Step => writeFile(path(`mount${String(count)}`, name), '')

on({ lsm: 'selinux', ...rights }).describe('context', () => {
  on({}).test('of a tmpfs: everything in it, now and later', async () => {
    const options = { type: 'tmpfs', data: 'mode=755,size=1m', context: label }
    expect(await labels(options, ['.', 'made'], file('made'))).toEqual([label, label])
  })

  on({}).test('of a devpts: terminals, too', async () => {
    const options = { type: 'devpts', data: 'newinstance,ptmxmode=0666', context: label }
    expect(await labels(options, ['.', 'ptmx'])).toEqual([label, label])
  })

  on(facts.user === 'root' ? {} : { kernel: '5.11' }).test(
    'of an overlay: whatever the layers have',
    async () => {
      const [lower, upper, work] = ['lower', 'upper', 'work'].map((name) => path(`${name}${String(count)}`))
      for (const name of [lower, upper, work]) mkdirSync(name!)
      const userxattr = facts.user === 'root' ? [] : ['userxattr']
      const layers = { lowerdir: lower!, upperdir: upper!, workdir: work!, options: userxattr }
      const options = { type: 'overlay', data: overlayData(layers), context: label }
      writeFileSync(`${lower!}/low`, '')
      expect(await labels(options, ['.', 'low', 'made'], file('made'))).toEqual([label, label, label])
    },
  )

  on({ user: 'root' }).test('of a procfs, which in a user namespace takes none', async () => {
    expect(await labels({ type: 'proc', context: label }, ['.', 'version'])).toEqual([label, label])
  })

  on({ user: 'ordinary' }).test('of a procfs, in a user namespace', async () => {
    await expect(labels({ type: 'proc', context: label }, ['.'])).rejects.toMatchObject({
      code: 'EACCES',
      syscall: 'mount',
      hint: expect.stringContaining('only tmpfs, ramfs, devpts and overlay') as unknown,
    })
  })

  on({}).test('of the root directory, and of the filesystem', async () => {
    // Not what a tmpfs is of itself, which is tmpfs_t.
    const options = { type: 'tmpfs', rootcontext: label, fscontext: 'system_u:object_r:fs_t:s0' }
    const [root, made] = await labels(options, ['.', 'made'], file('made'))
    expect(root).toBe(label)
    expect(made).toBe(selinux.computeCreate(selinux.getcon(), label, 'file'))
    expect(made).not.toBe(label)
    expect(await superblock(options)).toContain(`,fscontext=${options.fscontext},rootcontext="${label}",`)
    expect(await superblock({ type: 'tmpfs' })).not.toContain('context=')
  })

  on({}).test('that the policy does not know, or that a mount with another one has', async () => {
    const refused = labels({ type: 'tmpfs', context: 'nobody_u:nobody_r:nobody_t:s0' }, ['.'])
    await expect(refused).rejects.toMatchObject({
      code: 'EINVAL',
      syscall: 'mount',
      step: facts.user === 'root' ? 1 : expect.any(Number),
      hint: expect.stringContaining('knows no such context') as unknown,
    })
    const target = path('twice')
    mkdirSync(target)
    const tmpfs = (context: string, flags: MountOptions['flags'] = []): Step =>
      mount({ source: 'none', target, type: 'tmpfs', flags, context })
    const steps = [makePrivate('/', { recursive: true }), tmpfs(label), tmpfs(other, 'MS_REMOUNT')]
    await expect(run('true', [], isolated(['mnt'], steps))).rejects.toMatchObject({ code: 'EINVAL' })
    await run(
      'true',
      [],
      isolated(['mnt'], steps.slice(0, 2), tmpfs(label, 'MS_REMOUNT'), mkdir(`${target}/a`)),
    )
  })
})

describe('defcontext', () => {
  on({ lsm: 'selinux', user: 'root' }).test('is for filesystems that keep labels', async () => {
    await expect(labels({ type: 'tmpfs', defcontext: label }, ['.'])).rejects.toMatchObject({
      code: 'EINVAL',
    })
  })
})
