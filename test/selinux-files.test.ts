// Labels of files. root may write them where SELinux is off, too: nobody looks at them there.
import { beforeAll, describe, expect, test } from '@jest/globals'
import { closeSync, openSync, symlinkSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { Context, type KernelError, selinux } from 'fancyproc'
import { open as openStep } from 'fancyproc/thread'
import { native } from '../lib/native.ts'
import { facts, on } from './support/machine.ts'
import { scratch } from './support/scratch.ts'

const path = scratch()
const label = 'unconfined_u:object_r:user_tmp_t:s0:c1,c2'
const other = 'unconfined_u:object_r:user_home_t:s0'

const refused = (promise: Promise<unknown>): Promise<KernelError> =>
  promise.then(
    () => {
      throw new Error('nothing was thrown')
    },
    (error: unknown) => error as KernelError,
  )

let count = 0
function file(): string {
  const name = path(`file${String(count++)}`)
  writeFileSync(name, '')
  return name
}

beforeAll(() => {
  writeFileSync(path('target'), '')
  symlinkSync('target', path('link'))
})

// An ordinary user labels his own files where a policy allows it; elsewhere that is root's.
const able = facts.lsm === 'selinux' ? on({ lsm: 'selinux' }) : on({ user: 'root' })

able.describe('a file', () => {
  test('is labelled by path, by link and by descriptor', async () => {
    await selinux.setfilecon(path('link'), label)
    await selinux.lsetfilecon(path('link'), other)
    expect(await selinux.getfilecon(path('target'))).toBe(label)
    expect(await selinux.getfilecon(path('link'))).toBe(label)
    expect(await selinux.lgetfilecon(path('link'))).toBe(other)
    await using handle = await open(file())
    await selinux.fsetfilecon(handle, Context.parse(label))
    expect(await selinux.fgetfilecon(handle.fd)).toBe(label)
  })

  test('keeps its label with a NUL, as libselinux writes it', async () => {
    const name = file()
    await selinux.setfilecon(name, other)
    const bytes = await native().getxattr(name, 'security.selinux', true)
    expect(Buffer.from(bytes as Uint8Array).toString()).toBe(`${other}\0`)
  })

  test('is labelled though its descriptor is closed right after the call', async () => {
    const name = file()
    const fd = openSync(name, 'r')
    const done = selinux.fsetfilecon(fd, label)
    closeSync(fd)
    // Takes the number.
    const others = Array.from({ length: 4 }, () => openSync(path('target'), 'r'))
    await done
    others.forEach(closeSync)
    expect(await selinux.getfilecon(name)).toBe(label)
  })
})

describe('fails', () => {
  test('for what is no path, descriptor or context', async () => {
    const wrong = selinux as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>
    await expect(wrong['getfilecon']?.('')).rejects.toThrow(/^getfilecon: path: is empty/)
    await expect(wrong['lgetfilecon']?.('a\0b')).rejects.toThrow(/^lgetfilecon: path: holds a NUL/)
    await expect(wrong['fgetfilecon']?.('x')).rejects.toThrow(/^fgetfilecon: fd: expected a file descriptor/)
    await expect(wrong['setfilecon']?.('x', 5)).rejects.toThrow(/^setfilecon: context: expected a context/)
    await expect(wrong['setfilecon']?.('x', '')).rejects.toThrow(/^setfilecon: context: is empty/)
    await expect(wrong['fsetfilecon']?.(-1, label)).rejects.toThrow(/^fsetfilecon: fd: no fd/)
  })

  test('where there is no file', async () => {
    expect(await refused(selinux.getfilecon(path('nothing')))).toMatchObject({
      code: 'ENOENT',
      syscall: 'getxattr',
      path: path('nothing'),
    })
    expect(await refused(selinux.lsetfilecon(path('nothing'), label))).toMatchObject({
      code: 'ENOENT',
      syscall: 'lsetxattr',
      path: path('nothing'),
      dest: label,
    })
    expect(await refused(selinux.fgetfilecon(987_654))).toMatchObject({ code: 'EBADF', syscall: 'fgetxattr' })
  })

  test('for a descriptor without its file: O_PATH', async () => {
    using fd = openStep(path('target'), 'O_PATH')
    expect(await refused(selinux.fgetfilecon(fd))).toMatchObject({
      code: 'EBADF',
      hint: expect.stringContaining('O_PATH') as unknown,
    })
  })

  test('where the filesystem keeps no labels', async () => {
    const error = await refused(selinux.setfilecon('/proc/version', label))
    const [code, hint] =
      facts.user === 'root' || facts.lsm === 'selinux'
        ? ['EOPNOTSUPP', 'keeps no labels']
        : ['EPERM', 'CAP_SYS_ADMIN']
    expect(error).toMatchObject({ code, hint: expect.stringContaining(hint) as unknown })
  })

  on({ lsm: ['none', 'apparmor'] }).test('where there is no label', async () => {
    expect(await refused(selinux.getfilecon(file()))).toMatchObject({
      code: 'ENODATA',
      hint: expect.stringContaining('no label') as unknown,
    })
  })

  // Where SELinux is in the kernel's list and has no policy, it lets whoever owns a file label it.
  on({ lsm: 'apparmor', user: 'ordinary' }).test('as an ordinary user where SELinux is off', async () => {
    expect(await refused(selinux.setfilecon(file(), label))).toMatchObject({
      code: 'EPERM',
      hint: expect.stringContaining('where SELinux is off this needs CAP_SYS_ADMIN') as unknown,
    })
  })

  on({ lsm: 'selinux' }).test('for a context that the policy does not know', async () => {
    expect(await refused(selinux.setfilecon(file(), 'system_u:object_r:nonsense_t:s0'))).toMatchObject({
      code: 'EINVAL',
      hint: expect.stringContaining('knows no such context') as unknown,
    })
  })

  on({ lsm: 'selinux' }).test('for a label that the policy does not let be given', async () => {
    // Of a process's type a filesystem keeps no files.
    expect(await refused(selinux.setfilecon(file(), 'system_u:object_r:container_t:s0'))).toMatchObject({
      code: 'EACCES',
      hint: expect.stringContaining('filesystem:associate') as unknown,
    })
  })

  on({ lsm: 'selinux', user: 'ordinary' }).test("for another user's file", async () => {
    expect(await refused(selinux.setfilecon('/etc/hostname', other))).toMatchObject({
      code: 'EPERM',
      hint: expect.stringContaining('CAP_FOWNER') as unknown,
    })
  })
})
