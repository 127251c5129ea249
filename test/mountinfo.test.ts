import { describe, expect, test } from '@jest/globals'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseMountinfo, readMountinfo, unescapeOctal } from '../lib/mountinfo.ts'
import { on } from './support/machine.ts'

describe('parseMountinfo', () => {
  test('reads a line with optional fields', () => {
    const line =
      '36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 propagate_from:2 - ext3 /dev/root rw,errors=continue'
    expect(parseMountinfo(`${line}\n`)).toEqual([
      {
        id: 36,
        parent: 35,
        device: '98:0',
        root: '/mnt1',
        mountPoint: '/mnt2',
        options: ['rw', 'noatime'],
        propagation: ['master:1', 'propagate_from:2'],
        type: 'ext3',
        source: '/dev/root',
        superOptions: ['rw', 'errors=continue'],
      },
    ])
  })

  test('reads a private mount with an empty source', () => {
    expect(parseMountinfo('41 31 0:38 / /sys/fs/cgroup rw - cgroup2  rw,nsdelegate')[0]).toMatchObject({
      propagation: [],
      type: 'cgroup2',
      source: '',
      superOptions: ['rw', 'nsdelegate'],
    })
  })

  test('unescapes after splitting, so that a comma or a space of a value stays in it', () => {
    const line = '1 2 0:3 / /a\\040b\\134c rw - overlay over\\011lay rw,lowerdir=/x\\054y:/z\\134072'
    expect(parseMountinfo(line)[0]).toMatchObject({
      mountPoint: '/a b\\c',
      source: 'over\tlay',
      superOptions: ['rw', 'lowerdir=/x,y:/z\\072'],
    })
  })

  test('is not misled by a mount point that is called -', () => {
    expect(parseMountinfo('1 2 0:3 / - rw - tmpfs - rw')[0]).toMatchObject({
      mountPoint: '-',
      type: 'tmpfs',
      source: '-',
    })
  })

  test('leaves out what is no line of it', () => {
    expect(parseMountinfo('\n1 2 0:3 / /x rw\nnonsense\n')).toEqual([])
  })

  test('octal digits that are none stay', () => {
    expect(unescapeOctal('\\9\\012\\400')).toBe('\\9\n\\400')
  })
})

describe('readMountinfo', () => {
  test('agrees with the kernel on this process', async () => {
    const mounts = await readMountinfo()
    expect(mounts.some(({ mountPoint, type }) => mountPoint === '/proc' && type === 'proc')).toBe(true)
    expect(new Set(mounts.map(({ id }) => id)).size).toBe(mounts.length)
    expect(await readMountinfo(process.pid)).toEqual(mounts)
  })

  test('names the process that is not there', async () => {
    await expect(readMountinfo(2 ** 22 + 1)).rejects.toMatchObject({ name: 'KernelError', code: 'ENOENT' })
  })

  on({ user: 'root', tools: ['mount', 'unshare', 'sh', 'cat'] }).test(
    'a path with a space, a newline and a backslash',
    () => {
      const directory = mkdtempSync(join(tmpdir(), 'fancyproc-'))
      const awkward = join(directory, 'a b\nc\\d#é')
      mkdirSync(awkward)
      try {
        const script = 'mount -t tmpfs "x y" "$0" && cat /proc/self/mountinfo'
        const text = execFileSync('unshare', ['--mount', 'sh', '-c', script, awkward], { encoding: 'utf8' })
        expect(parseMountinfo(text).at(-1)).toMatchObject({
          mountPoint: awkward,
          source: 'x y',
          type: 'tmpfs',
        })
      } finally {
        rmSync(directory, { recursive: true })
      }
    },
  )
})
