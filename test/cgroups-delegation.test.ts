// Cgroups of an ordinary user.
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import {
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { access, constants } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { cgroups, run } from 'fancyproc'
import { chdir, setgroups, setresgid, setresuid } from 'fancyproc/steps'
import { native } from '../lib/native.ts'
import { directories, make, root, scratch, thrown, useScratch } from './support/cgroups.ts'
import { root as checkout, script } from './support/fork.ts'
import { on } from './support/machine.ts'

const uid = 65534

/** Whether this user may write to a cgroup on the way up. */
async function delegated(path: string): Promise<boolean> {
  for (let at = path; at.startsWith(root); at = dirname(at)) {
    const writable = await access(at, constants.W_OK).then(
      () => true,
      () => false,
    )
    if (writable) return true
  }
  return false
}

on({ user: 'ordinary', cgroup: 'v2-any' }).describe('an ordinary user', () => {
  test('is told that a subtree must be delegated', async () => {
    const own = await cgroups.pathOf()
    const before = directories(own)
    if (await delegated(own)) {
      await using group = await cgroups.create('demo')
      expect(existsSync(group.path)).toBe(true)
      return
    }
    const error = await thrown(cgroups.create('demo'))
    expect(error).toMatchObject({ name: 'KernelError', code: 'EACCES', syscall: 'mkdir' })
    expect(error['hint']).toMatch(/delegated subtree.*systemd-run --user --scope -p Delegate=yes/)
    expect(directories(own)).toEqual(before)
    expect(await thrown(cgroups.create('demo', {}, { parent: root }))).toMatchObject({ code: 'EACCES' })
    expect((await cgroups.sweep()).removed).toEqual([])
  })

  on({ cgroup: 'hybrid' }).test('hears of a lacking controller first', async () => {
    await expect(cgroups.create('demo', { 'pids.max': 1 })).rejects.toMatchObject({ code: 'ENOENT' })
  })
})

let copy: string | undefined

/** The library where an ordinary user may read it. */
function readable(): string {
  if (copy !== undefined) return copy
  copy = mkdtempSync(join(tmpdir(), 'fancyproc-'))
  cpSync('dist/lib', join(copy, 'lib'), { recursive: true })
  cpSync('build/Release/fancyproc.node', join(copy, 'fancyproc.node'))
  writeFileSync(join(copy, 'package.json'), '{"type":"module"}')
  chownSync(copy, uid, uid)
  return copy
}

afterAll(() => {
  if (copy !== undefined) rmSync(copy, { recursive: true })
})

/** Node as an ordinary user who was born in a cgroup; what it prints, as JSON. */
async function asUser(cgroup: string, text: string): Promise<unknown> {
  const lib = join(readable(), 'lib')
  const imports = `import { cgroups, run } from '${lib}/index.js'\n`
  const env = { PATH: process.env['PATH'], FANCYPROC_BINARY: join(readable(), 'fancyproc.node') }
  const { stdout, stderr } = await run(process.execPath, script(imports + text), {
    cgroup,
    env,
    steps: [chdir('/'), setgroups([]), setresgid(uid, uid, uid), setresuid(uid, uid, uid)],
  })
  expect(stderr).toBe('')
  return JSON.parse(stdout) as unknown
}

on({ user: 'root', cgroup: 'v2-any' }).describe('a subtree of an ordinary user', () => {
  // Before the scratch itself goes.
  afterAll(async () => {
    await (await cgroups.open(join(scratch, 'user.slice'))).remove({ kill: true })
  })

  useScratch()

  // As systemd lays it out, which is not needed for that: the kernel knows directories and their owners.
  const session = join(scratch, `user.slice/user-${String(uid)}.slice/session-1.scope`)
  const manager = join(scratch, `user.slice/user-${String(uid)}.slice/user@${String(uid)}.service`)
  const [slice, scope] = [join(manager, 'app.slice'), join(manager, 'app.slice/run-1.scope')]

  beforeAll(async () => {
    for (const path of [session, scope]) mkdirSync(path, { recursive: true })
    // The manager's: those of its user.
    for (const path of [manager, slice, scope]) {
      const group = await cgroups.open(path)
      await group.delegate(uid, uid)
      group.close()
    }
  })

  test('has the files that the kernel names', () => {
    const named = readFileSync('/sys/kernel/cgroup/delegate', 'utf8').trim().split('\n')
    const owned = readdirSync(manager).filter((name) => statSync(join(manager, name)).isFile())
    for (const name of owned) {
      const { uid: user, gid } = statSync(join(manager, name))
      expect([name, user, gid]).toEqual([name, ...(named.includes(name) ? [uid, uid] : [0, 0])])
    }
    expect(statSync(manager)).toMatchObject({ uid, gid: uid })
    expect(statSync(dirname(manager)).uid).toBe(0)
  })

  test('is found by who is in it', async () => {
    const text = `
      const group = await cgroups.create('his')
      const { stdout } = await run('cat', ['/proc/self/cgroup'], { cgroup: group })
      const above = await cgroups.create('his', {}, { parent: ${JSON.stringify(scratch)} }).catch((error) => error)
      console.log(JSON.stringify([await cgroups.delegated(), group.path, stdout, above.code]))
      await group.remove()`
    const [top, path, born, code] = (await asUser(scope, text)) as [string, string, string, string]
    expect(top).toBe(manager)
    expect(dirname(path)).toBe(scope)
    expect(join(root, /^0::(.*)$/m.exec(born)?.[1] ?? '')).toBe(path)
    expect(code).toBe('EACCES')
    expect(directories(scope)).toEqual([])
  })

  test.each(['user.delegate', 'trusted.delegate'])('has the top that systemd marks with %s', async (name) => {
    const text = 'console.log(JSON.stringify(await cgroups.delegated()))'
    expect(await native().setxattr(slice, name, true, Buffer.from('1'), 0)).toBe(0)
    // What is trusted is for root.
    expect(await asUser(scope, text)).toBe(name === 'user.delegate' ? slice : manager)
    expect(await native().setxattr(slice, name, true, Buffer.from('0'), 0)).toBe(0)
    expect(await asUser(scope, text)).toBe(manager)
  })

  test('is pointed out to who is not in it', async () => {
    const text = `
      const error = await cgroups.create('his').catch((error) => error)
      const move = await (await cgroups.open(${JSON.stringify(scope)})).add(process.pid).catch((error) => error)
      console.log(JSON.stringify([await cgroups.delegated(), error.code, error.hint, move.code, move.hint]))`
    const [top, code, hint, moveCode, moveHint] = (await asUser(session, text)) as string[]
    expect(top).toBeNull()
    expect([code, moveCode]).toEqual(['EACCES', 'EACCES'])
    expect(hint).toMatch(
      new RegExp(`^${manager} is this user's, but this process is not in it, .*${dirname(manager)}, too`),
    )
    expect(hint).toMatch(/systemd-run --user --scope -p Delegate=yes/)
    expect(moveHint).toMatch(new RegExp(`this user has none on ${dirname(manager)}/cgroup\\.procs$`))
  })

  test('without systemd', async () => {
    const plain = await cgroups.create('plain', {}, { parent: scratch, detached: true })
    const outside = await cgroups.create('outside', {}, { parent: scratch, detached: true })
    const text = `
      const found = await cgroups.create('x').catch((error) => error.hint)
      console.log(JSON.stringify([await cgroups.delegated(), found.path ?? found]))
      await found.remove?.()`
    expect(((await asUser(outside.path, text)) as string[])[1]).toMatch(
      /^an ordinary user needs a delegated subtree/,
    )
    await plain.delegate(uid, uid)
    expect(await asUser(plain.path, text)).toEqual([
      plain.path,
      expect.stringMatching(`^${plain.path}/fancyproc`),
    ])
    expect(((await asUser(outside.path, text)) as string[])[1]).toMatch(
      new RegExp(`^${plain.path} is this user's`),
    )
    await plain.remove()
    await outside.remove()
  }, 60_000)

  on({ cgroup: 'v2', controllers: ['memory', 'pids'] }).test(
    'with limits for those below, and none for itself',
    async () => {
      const group = await cgroups.open(manager)
      await group.enable(['memory', 'pids'])
      // Those that have come with the controllers are his, too.
      await group.delegate(uid, uid)
      group.close()
      const text = `
      const group = await cgroups.create('limited', { 'pids.max': 1, 'memory.max': 32 << 20, 'memory.oom.group': true })
      const { code, stderr } = await run('sh', ['-c', 'true & wait'], { cgroup: group })
      const { signal } = await run('tail', ['/dev/zero'], { cgroup: group })
      const own = await cgroups.open(${JSON.stringify(manager)})
      const raise = await own.set('pids.max', 'max').catch((error) => error)
      console.log(JSON.stringify([group.path, await group.get('memory.max'), code, stderr, signal, raise.code]))
      await group.remove()`
      const [path, max, code, stderr, signal, raise] = (await asUser(scope, text)) as (string | number)[]
      // Not in the scope, where he is himself: no internal processes.
      expect(dirname(String(path))).toBe(slice)
      expect(max).toBe(32 << 20)
      expect(code).not.toBe(0)
      expect(stderr).toMatch(/fork/i)
      expect(signal).toBe('SIGKILL')
      expect(raise).toBe('EACCES')
    },
  )

  test('is given whole, or not at all', async () => {
    await using group = await make('half')
    for (const [bad, good, argument] of [
      [-1, 0, 'uid'],
      [2 ** 32 - 1, 0, 'uid'],
      [0, 1.5, 'gid'],
    ] as const) {
      await expect(group.delegate(bad, good)).rejects.toThrow(new RegExp(`^delegate: ${argument}: `))
    }
    const text = `
      const group = await cgroups.open(${JSON.stringify(group.path)})
      const { code, hint } = await group.delegate(${String(uid)}, ${String(uid)}).catch((error) => error)
      console.log(JSON.stringify([code, hint]))`
    expect(await asUser(scope, text)).toEqual([
      'EPERM',
      'only root, with CAP_CHOWN, can give a cgroup to another user',
    ])
    expect(statSync(group.path).uid).toBe(0)
  })
})

on({ user: 'root', cgroup: 'v2-any' }).describe('a cgroup namespace', () => {
  useScratch()

  test('is a border, where nsdelegate is', async () => {
    await using inside = await make('inside')
    await using outside = await make('outside')
    const text = `import { cgroups } from 'fancyproc'
      const group = await cgroups.open(${JSON.stringify(outside.path)})
      const { code, hint } = await group.add(process.pid).then(() => ({}), (error) => error)
      console.log(JSON.stringify([code, hint]))`
    const options = {
      cgroup: inside,
      namespaces: ['cgroup'] as const,
      env: { PATH: process.env['PATH'], PWD: checkout },
    }
    const { stdout } = await run(process.execPath, script(text), { ...options, steps: [chdir(checkout)] })
    const refused = ['ENOENT', expect.stringMatching(/^cgroup2 is mounted with nsdelegate/)]
    expect(JSON.parse(stdout)).toEqual(
      (await cgroups.mountOptions()).includes('nsdelegate') ? refused : [null, null],
    )
  })
})

on({ cgroup: 'v2-any' }).test('options of the mount', async () => {
  const options = await cgroups.mountOptions()
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((one) => one.includes(' - cgroup2 '))
  expect(options.includes('nsdelegate')).toBe(line?.includes('nsdelegate'))
  expect(options).not.toContain('rw')
})
