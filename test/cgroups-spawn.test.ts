// Spawning into a cgroup.
import { expect, test } from '@jest/globals'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, readdirSync, rmdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { cgroups } from 'fancyproc'
import { assertSpawnable, cloneHint, openForSpawn } from '../lib/cgroups.ts'
import { errnoNumber } from '../lib/errors.ts'
import { run } from '../lib/run.ts'
import { spawn } from '../lib/spawn.ts'
import { make, root, sleeper, thrown, thrownBy, useScratch } from './support/cgroups.ts'
import { command, script } from './support/fork.ts'
import { facts, on } from './support/machine.ts'

on({ user: 'root', cgroup: 'v2-any' }).describe('spawn', () => {
  useScratch()

  test('is born in it', async () => {
    await using group = await make('born')
    const { stdout } = await run('cat', ['/proc/self/cgroup'], { cgroup: group })
    expect(join(root, /^0::(.*)$/m.exec(stdout)?.[1] ?? '')).toBe(group.path)
  })

  test('dispose of the cgroup first ends the process', async () => {
    const group = await make('order')
    await using child = spawn('sleep', ['1000'], { cgroup: group.path, stdio: 'ignore' })
    await once(child, 'spawn')
    await group[Symbol.asyncDispose]()
    expect(await child.exited).toMatchObject({ code: null, signal: 'SIGKILL' })
  })

  test('not into one that is gone', async () => {
    const group = await make('gone')
    rmdirSync(group.path)
    expect(
      thrownBy(() => {
        assertSpawnable(group)
      }),
    ).toMatchObject({ code: 'ENOENT', hint: 'this cgroup has been removed' })
    expect(thrownBy(() => openForSpawn(group.path))).toMatchObject({ code: 'ENOENT' })
    await group.remove()
    expect(thrownBy(() => openForSpawn(group, 'cgroup')).message).toBe('cgroup: this fd is closed')
  })

  test('not into a frozen one, nor below it', async () => {
    await using group = await make('frozen')
    await using below = await cgroups.create('below', {}, { parent: group })
    await group.freeze()
    for (const one of [group, below]) {
      const error = thrownBy(() => {
        assertSpawnable(one)
      })
      expect(error).toMatchObject({ code: 'EAGAIN', path: one.path })
      expect(error['hint']).toMatch(/frozen.*thaw\(\) it first/)
    }
    await group.thaw()
    assertSpawnable(group)
    assertSpawnable(below)
  })

  test('not into a threaded one', async () => {
    await using group = await make('domain')
    await using threaded = await cgroups.create('threaded', { 'cgroup.type': 'threaded' }, { parent: group })
    await using invalid = await cgroups.create('invalid', {}, { parent: group })
    assertSpawnable(group)
    const [below, beside] = [threaded, invalid].map((one) => {
      const error = thrownBy(() => {
        assertSpawnable(one)
      })
      expect(error).toMatchObject({ code: 'EOPNOTSUPP', syscall: 'clone3', path: one.path })
      return error['hint'] as string
    })
    expect(below).toMatch(/^it is threaded/)
    expect(beside).toMatch(/'domain invalid'/)
    const error = await thrown(invalid.add(sleeper()))
    expect(error).toMatchObject({
      code: 'EOPNOTSUPP',
      syscall: 'write',
      hint: `its type is 'domain invalid': it is beside or below a threaded one, and not threaded itself (${group.path} is 'domain threaded')`,
    })
  })

  test('a threaded one lists and kills by the domain above', async () => {
    await using group = await make('domain')
    await using threaded = await cgroups.create('threaded', { 'cgroup.type': 'threaded' }, { parent: group })
    const child = sleeper()
    const end = once(child, 'exit')
    await threaded.add(child)
    expect((await thrown(threaded.procs()))['hint']).toMatch(/cgroup\.threads/)
    if (existsSync(join(group.path, 'cgroup.kill'))) {
      expect(await thrown(threaded.kill())).toMatchObject({
        code: 'EOPNOTSUPP',
        hint: 'it is threaded: kill the domain above it',
      })
    }
    expect(await group.procs()).toEqual([child.pid])
    await group.kill()
    expect(await end).toEqual([null, 'SIGKILL'])
  })

  test('not into another filesystem, nor a closed fd', () => {
    const fd = openSync('/proc', 'r')
    expect(
      thrownBy(() => {
        assertSpawnable(fd)
      }),
    ).toMatchObject({ code: 'EBADF', path: '/proc' })
    closeSync(fd)
    expect(
      thrownBy(() => {
        assertSpawnable(fd)
      }),
    ).toMatchObject({ code: 'ENOENT' })
    for (const bad of ['relative', '', '/a\0b', null, {}, true]) {
      expect(thrownBy(() => openForSpawn(bad)).message).toMatch(
        /^cgroup: expected a cgroup, an fd or an absolute path/,
      )
    }
  })

  on({ cgroup: 'hybrid' }).test('not into v1', () => {
    const v1 = readdirSync(dirname(root)).find((name) => existsSync(join(dirname(root), name, 'tasks'))) ?? ''
    const target = openForSpawn(join(dirname(root), v1))
    const error = thrownBy(() => {
      assertSpawnable(target)
    })
    target.close()
    expect(error).toMatchObject({ code: 'EBADF' })
    expect(error['hint']).toMatch(/v1/)
  })

  test('the root, by its path', () => {
    const target = openForSpawn(root)
    assertSpawnable(target)
    target.close()
    expect(existsSync(`/proc/self/fd/${String(target.fd)}`)).toBe(false)
  })

  // With the others alone it would become the top of a threaded subtree.
  const [controller = ''] = facts.controllers.filter((name) => !['cpu', 'cpuset', 'pids'].includes(name))
  on(controller === '' ? { controllers: 'memory' } : {}).test(
    'not where the cgroups below have controllers',
    async () => {
      await using group = await make('internal')
      await group.enable([controller])
      expect(await thrown(spawn('true', [], { cgroup: group }).exited)).toMatchObject({
        code: 'EBUSY',
        syscall: 'clone3',
        hint: expect.stringMatching(/controllers enabled for its children .*spawn into a child/) as unknown,
      })
    },
  )

  on({ tools: 'strace', sanitizer: false }).test(
    'the kernel refuses one that was removed, or became invalid, after spawn() had looked at it',
    async () => {
      await using removed = await make('removed')
      await using above = await make('domain')
      await using invalid = await cgroups.create('invalid', {}, { parent: above })
      await using threaded = await cgroups.create('threaded', {}, { parent: above })
      const text = `
      import { openSync, rmdirSync, writeFileSync } from 'node:fs'
      import { spawn } from 'fancyproc'
      const [removed, invalid, threaded] = ${JSON.stringify([removed.path, invalid.path, threaded.path])}
      const fd = openSync(invalid, 'r')
      const children = [removed, fd].map((cgroup) => spawn('true', { cgroup }))
      rmdirSync(removed)
      writeFileSync(threaded + '/cgroup.type', 'threaded')
      const ends = await Promise.allSettled(children.map(({ exited }) => exited))
      console.log(JSON.stringify(ends.map(({ reason }) => [reason?.code, reason?.syscall, reason?.hint])))`
      // Node's threads are late by it, too.
      const late = ['-e', 'trace=clone3', '-e', 'inject=clone3:delay_enter=250000']
      const options = ['--seccomp-bpf', '-f', '-o', '/dev/null', ...late]
      const { stdout } = await command('strace', [...options, process.execPath, ...script(text)])
      expect(JSON.parse(stdout)).toEqual([
        ['ENOENT', 'clone3', 'the cgroup has been removed'],
        ['EOPNOTSUPP', 'clone3', expect.stringMatching(/^the cgroup's type is 'domain invalid'/)],
      ])
    },
  )

  on({ tools: 'strace', sanitizer: false }).test(
    'a kernel, or a filter, without clone3 is told; nothing is left out',
    async () => {
      await using group = await make('filtered')
      const text = `
      import { spawn } from 'fancyproc'
      const error = await spawn('true', { cgroup: ${JSON.stringify(group.path)} }).exited.catch((error) => error)
      console.log(JSON.stringify([error.code, error.syscall, error.hint]))`
      // Node's threads do without it.
      const inject = [
        '--seccomp-bpf',
        '-f',
        '-o',
        '/dev/null',
        '-e',
        'trace=clone3',
        '-e',
        'inject=clone3:error=ENOSYS',
      ]
      const { stdout } = await command('strace', [...inject, process.execPath, ...script(text)])
      expect(JSON.parse(stdout)).toEqual(['ENOSYS', 'clone3', expect.stringMatching(/^clone3 is denied/)])
      expect(await group.events()).toEqual({ populated: false, frozen: false })
    },
  )

  on({ controllers: 'pids' }).test('says that it is full', async () => {
    await using group = await make('full', { 'pids.max': 1 })
    await group.add(sleeper())
    assertSpawnable(group)
    expect(cloneHint(errnoNumber('EAGAIN') ?? 0, group)).toBe(
      'the cgroup is full: pids.current is 1, pids.max 1',
    )
    await expect(spawn('true', [], { cgroup: group }).exited).rejects.toMatchObject({ code: 'EAGAIN' })
  })

  on({ controllers: 'memory' }).test(
    'counts what the OOM killer took',
    async () => {
      await using group = await make('hog', { 'memory.max': 32 << 20 })
      if (existsSync(join(group.path, 'memory.swap.max'))) await group.write('memory.swap.max', 0)
      const child = spawn('tail', ['/dev/zero'], { cgroup: group, stdio: 'ignore' })
      expect(await child.exited).toMatchObject({ signal: 'SIGKILL' })
      expect(await group.oomKills()).toBeGreaterThan(0)
    },
    120_000,
  )
})

on({ user: 'ordinary', cgroup: 'v2-any' }).test("not into one that is another user's", async () => {
  expect(await thrown(spawn('true', [], { cgroup: root }).exited)).toMatchObject({
    code: 'EACCES',
    syscall: 'clone3',
    hint: expect.stringMatching(/write permission on cgroup.procs .*inside the delegated subtree/) as unknown,
  })
})
