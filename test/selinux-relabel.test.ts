// A tree gets its labels, and nothing outside of it does.
import { beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { spawn } from 'node:child_process'
import { linkSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { type KernelError, type RelabelCounts, type RelabelStat, selinux } from 'fancyproc'
import { native } from '../lib/native.ts'
import { command, script } from './support/fork.ts'
import { facts, on, scaled } from './support/machine.ts'
import { scratch } from './support/scratch.ts'
import { sh } from './support/sh.ts'

const path = scratch()
const label = 'unconfined_u:object_r:user_tmp_t:s0:c7,c9'
const other = 'unconfined_u:object_r:user_home_t:s0:c3'
const able = facts.lsm === 'selinux' ? on({ lsm: 'selinux' }) : on({ user: 'root' })
const root = on({ user: 'root' })

const openFiles = (): number => readdirSync('/proc/self/fd').length
const labelOf = (name: string): Promise<string | undefined> =>
  selinux.lgetfilecon(name).catch((error: unknown) => {
    if ((error as KernelError).code === 'ENODATA') return undefined
    throw error
  })

let tree: string
let count = 0
// The addon has descriptors of its own from then on.
beforeAll(() => void native())
beforeEach(() => {
  tree = path(`tree${String(count++)}`)
  mkdirSync(`${tree}/etc/deep/deeper`, { recursive: true })
  for (const name of ['etc/passwd', 'etc/deep/a', 'etc/deep/deeper/b', 'etc/ä name\nwith all']) {
    writeFileSync(`${tree}/${name}`, name)
  }
})

const names = [
  '',
  '/etc',
  '/etc/deep',
  '/etc/deep/deeper',
  '/etc/passwd',
  '/etc/deep/a',
  '/etc/deep/deeper/b',
] as const

/** Node, as another process; it says when it is ready. */
async function hostile(text: string): Promise<AsyncDisposable> {
  const child = spawn(process.execPath, script(text), { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  return {
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await once(child, 'exit')
    },
  }
}

able.describe('a tree', () => {
  test('is labelled, and not again', async () => {
    const before = openFiles()
    expect(await selinux.relabel(tree, label)).toEqual({ seen: 8, changed: 8, mounts: 0 })
    for (const name of names) expect(await labelOf(tree + name)).toBe(label)
    expect(await selinux.relabel(tree, label)).toEqual({ seen: 8, changed: 0, mounts: 0 })
    await selinux.setfilecon(`${tree}/etc/passwd`, other)
    expect(await selinux.relabel(tree, label)).toEqual({ seen: 8, changed: 1, mounts: 0 })
    expect(openFiles()).toBe(before)
  })

  test('of one file is one', async () => {
    expect(await selinux.relabel(`${tree}/etc/passwd`, label)).toEqual({ seen: 1, changed: 1, mounts: 0 })
    expect(await labelOf(`${tree}/etc`)).not.toBe(label)
  })

  test('may have links, pipes and sockets in it; where links lead is left alone', async () => {
    const outside = path('outside')
    mkdirSync(outside, { recursive: true })
    writeFileSync(`${outside}/file`, '')
    await selinux.setfilecon(outside, other)
    await selinux.setfilecon(`${outside}/file`, other)
    symlinkSync(outside, `${tree}/directory`)
    symlinkSync(`${outside}/file`, `${tree}/file`)
    symlinkSync('nowhere', `${tree}/dangling`)
    sh(`mkfifo '${tree}/fifo'`)
    linkSync(`${tree}/etc/passwd`, `${tree}/etc/twice`)
    const { seen, changed } = await selinux.relabel(tree, label)
    expect({ seen, changed }).toEqual({ seen: 13, changed: 12 })
    for (const name of ['directory', 'file', 'dangling', 'fifo', 'etc/twice'])
      expect(await labelOf(`${tree}/${name}`)).toBe(label)
    expect([await labelOf(outside), await labelOf(`${outside}/file`)]).toEqual([other, other])
  })

  test('has the labels that a function chooses', async () => {
    const seen = new Map<string, RelabelStat>()
    symlinkSync('/', `${tree}/link`)
    await selinux.relabel(tree, label)
    const counts = await selinux.relabel(tree, (name, stat) => {
      seen.set(name, stat)
      return name.startsWith('/etc/deep') ? other : null
    })
    expect(counts).toEqual({ seen: 9, changed: 4, mounts: 0 })
    expect([...seen.keys()].sort()).toEqual(
      ['/', '/link', '/etc/ä name\nwith all', ...names.filter((name) => name !== '')].sort(),
    )
    expect(seen.get('/link')?.type).toBe('symlink')
    expect(seen.get('/')).toMatchObject({ type: 'directory', label, uid: process.getuid?.() })
    expect(seen.get('/etc/passwd')).toMatchObject({ type: 'file', size: 10, nlink: 1 })
    expect(await labelOf(`${tree}/etc/deep/deeper/b`)).toBe(other)
    expect(await labelOf(`${tree}/etc/passwd`)).toBe(label)
  })

  test('of many files, with progress', async () => {
    const files = scaled(20_000)
    sh(`mkdir '${tree}/many' && cd '${tree}/many' && seq ${String(files)} | xargs touch`)
    const progress: RelabelCounts[] = []
    const before = openFiles()
    let slow = true
    const choose = (): string => {
      // Longer than from one report to the next, once.
      if (slow) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 120)
      slow = false
      return label
    }
    const chosen = await selinux.relabel(tree, choose, { onProgress: (counts) => progress.push(counts) })
    expect(progress.length).toBeGreaterThan(0)
    expect(chosen).toEqual({ seen: files + 9, changed: files + 9, mounts: 0 })
    for (const [i, { seen, changed }] of progress.entries()) {
      expect(seen).toBeGreaterThanOrEqual(progress[i - 1]?.seen ?? 0)
      expect(changed).toBeLessThanOrEqual(seen)
    }
    expect(openFiles()).toBe(before)
  }, 300_000)

  test('is left when a signal says so, with nothing open', async () => {
    const before = openFiles()
    let controller = new AbortController()
    const choose = (name: string): string => {
      // The first of many batches.
      if (name === '/') controller.abort()
      return label
    }
    await expect(selinux.relabel(tree, choose, { signal: controller.signal })).rejects.toMatchObject({
      name: 'AbortError',
    })
    // The function was asked about all of so small a tree at once, and nothing of it was done.
    expect(await labelOf(`${tree}/etc/passwd`)).not.toBe(label)
    sh(`mkdir '${tree}/many' && cd '${tree}/many' && seq 1000 | xargs touch`)
    controller = new AbortController()
    await expect(selinux.relabel(tree, choose, { signal: controller.signal })).rejects.toMatchObject({
      name: 'AbortError',
    })
    await expect(selinux.relabel(tree, label, { signal: controller.signal })).rejects.toMatchObject({
      name: 'AbortError',
    })
    expect(openFiles()).toBe(before)
  })

  test('is left when the function throws, with nothing open', async () => {
    const before = openFiles()
    const choose = (): string => {
      throw new RangeError('mine')
    }
    await expect(selinux.relabel(tree, choose)).rejects.toThrow('mine')
    await expect(selinux.relabel(tree, () => 'a b')).rejects.toThrow(/^relabel: context of \/: no context/)
    expect(openFiles()).toBe(before)
  })

  test('too deep is refused, and says so', async () => {
    mkdirSync(`${tree}/${'d/'.repeat(520)}`, { recursive: true })
    const before = openFiles()
    await expect(selinux.relabel(tree, label)).rejects.toMatchObject({
      code: 'EMFILE',
      syscall: 'openat',
      path: expect.stringContaining('/d/d/d') as unknown,
      hint: expect.stringContaining('512 directories') as unknown,
    })
    expect(openFiles()).toBe(before)
    rmSync(tree, { recursive: true })
  })

  test('that changes under our hands: no file outside gets a label', async () => {
    const outside = path('target')
    rmSync(outside, { recursive: true, force: true })
    mkdirSync(`${outside}/sub`, { recursive: true })
    for (const name of ['a', 'b', 'sub/c', 'passwd']) writeFileSync(`${outside}/${name}`, '')
    await selinux.relabel(outside, other)
    // Directories and files turn into links that lead out, and back, as fast as can be.
    await using _ = await hostile(`
      import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
      const [tree, outside] = ${JSON.stringify([tree, outside])}
      symlinkSync(outside, tree + '/dir-link')
      symlinkSync(outside + '/passwd', tree + '/file-link')
      console.log('ready')
      for (;;) {
        renameSync(tree + '/etc/deep', tree + '/dir')
        renameSync(tree + '/dir-link', tree + '/etc/deep')
        renameSync(tree + '/etc/deep', tree + '/dir-link')
        renameSync(tree + '/dir', tree + '/etc/deep')
        renameSync(tree + '/etc/passwd', tree + '/file')
        renameSync(tree + '/file-link', tree + '/etc/passwd')
        renameSync(tree + '/etc/passwd', tree + '/file-link')
        renameSync(tree + '/file', tree + '/etc/passwd')
      }`)
    const until = Date.now() + 1500
    for (let i = 0; i < 20 || Date.now() < until; i++) {
      const one = `unconfined_u:object_r:user_tmp_t:s0:c${String(i % 1024)}`
      await (i % 2 === 0 ? selinux.relabel(tree, one) : selinux.relabel(tree, () => one))
    }
    for (const name of ['', '/a', '/b', '/sub', '/sub/c', '/passwd'])
      expect({ name, label: await labelOf(outside + name) }).toEqual({ name, label: other })
  }, 300_000)

  test('whose files vanish is labelled all the same', async () => {
    await using _ = await hostile(`
      import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
      const tree = ${JSON.stringify(tree)}
      console.log('ready')
      for (;;) {
        mkdirSync(tree + '/passing/by', { recursive: true })
        for (let i = 0; i < 20; i++) writeFileSync(tree + '/passing/' + i, '')
        rmSync(tree + '/passing', { recursive: true })
      }`)
    for (let i = 0; i < scaled(50); i++) await selinux.relabel(tree, i % 2 === 0 ? label : () => label)
    expect(await labelOf(`${tree}/etc/passwd`)).toBe(label)
  }, 300_000)
})

root.test('mount points are left alone, unless told', async () => {
  const text = `
    import { selinux } from './dist/lib/index.js'
    const [tree, label] = ${JSON.stringify([tree, label])}
    const left = await selinux.relabel(tree, label)
    const before = await selinux.getfilecon(tree + '/etc/deep/deeper/inside').catch(({ code }) => code)
    const all = await selinux.relabel(tree, label, { crossMounts: true })
    const after = await selinux.getfilecon(tree + '/etc/deep/deeper/inside')
    console.log(JSON.stringify({ left, before, all, after }))`
  const prepare = `mount -t tmpfs none '${tree}/etc/deep/deeper' && touch '${tree}/etc/deep/deeper/inside'`
  const bind = `mount --bind '${tree}/etc/passwd' '${tree}/etc/deep/a'`
  const { stdout, stderr } = await command('unshare', [
    '--mount',
    'sh',
    '-c',
    `${prepare} && ${bind} && exec "$@"`,
    'sh',
    process.execPath,
    ...script(text),
  ])
  expect(stderr).toBe('')
  const said = JSON.parse(stdout) as Record<'left' | 'all', RelabelCounts> &
    Record<'before' | 'after', string>
  expect(said.left).toEqual({ seen: 5, changed: 5, mounts: 2 })
  expect(said.before).not.toBe(label)
  // The one that is bound elsewhere is the same file.
  expect(said.all).toEqual({ seen: 8, changed: 2, mounts: 0 })
  expect(said.after).toBe(label)
})

describe('fails', () => {
  test('for what is no root, context or option', async () => {
    const relabel = selinux.relabel as (...args: unknown[]) => Promise<unknown>
    await expect(relabel('', label)).rejects.toThrow(/^relabel: root: is empty/)
    await expect(relabel(tree)).rejects.toThrow(/^relabel: context: expected a context or a function/)
    await expect(relabel(tree, 'a b')).rejects.toThrow(/^relabel: context: no context/)
    await expect(relabel(tree, label, { signal: 5 })).rejects.toThrow(
      /^relabel: signal: expected an AbortSignal/,
    )
    await expect(relabel(tree, label, { onProgress: 5 })).rejects.toThrow(/^relabel: onProgress: expected/)
    await expect(relabel(tree, label, { crossMounts: 5 })).rejects.toThrow(/^relabel: crossMounts: expected/)
    await expect(relabel(tree, label, { depth: 5 })).rejects.toThrow(/^relabel: depth: no such option/)
  })

  test('where there is none', async () => {
    await expect(selinux.relabel(`${tree}/nothing`, label)).rejects.toMatchObject({
      code: 'ENOENT',
      syscall: 'open',
      path: `${tree}/nothing`,
    })
  })

  // Where SELinux is in the kernel's list and has no policy, it lets whoever owns a file label it.
  on({ lsm: 'apparmor', user: 'ordinary' }).test('as an ordinary user, at the first file', async () => {
    await expect(selinux.relabel(tree, label)).rejects.toMatchObject({
      code: 'EPERM',
      syscall: 'setxattr',
      path: tree,
      hint: expect.stringContaining('CAP_SYS_ADMIN') as unknown,
    })
  })

  on({ lsm: 'selinux' }).test('for a context that the policy does not know', async () => {
    await expect(selinux.relabel(tree, 'system_u:object_r:nonsense_t:s0')).rejects.toMatchObject({
      code: 'EINVAL',
      syscall: 'setxattr',
      path: tree,
    })
  })
})
