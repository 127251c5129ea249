// Removing whole subtrees: deep ones, wide ones, and while others make and remove cgroups in them.
import { expect, test } from '@jest/globals'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type Cgroup, cgroups, spawn } from 'fancyproc'
import { on, scaled } from './support/machine.ts'
import { sh } from './support/sh.ts'

/** Directories below, without those files of the kernel's. */
const below = (path: string): string[] =>
  readdirSync(path, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []))

function tree(path: string, names: readonly string[], depth: number): string[] {
  if (depth === 0) return [path]
  return names.flatMap((name) => {
    mkdirSync(join(path, name))
    return tree(join(path, name), names, depth - 1)
  })
}

const sleeper = (cgroup: Cgroup | string): ReturnType<typeof spawn> =>
  spawn('sleep', ['1000'], { cgroup, stdio: 'ignore' })

on({ user: 'root', cgroup: 'v2-any' }).describe('remove', () => {
  test('a deep one, with a process at the bottom', async () => {
    const cgroup = await cgroups.create('deep')
    const [bottom = ''] = tree(cgroup.path, ['d'], scaled(60))
    const child = sleeper(bottom)
    await child.spawned
    await cgroup.remove({ kill: true })
    expect(existsSync(cgroup.path)).toBe(false)
    expect((await child.exited).signal).toBe('SIGKILL')
  })

  test('a wide one, with processes all over', async () => {
    const cgroup = await cgroups.create('wide')
    const leaves = tree(
      cgroup.path,
      Array.from({ length: 6 }, (_, i) => String(i)),
      3,
    )
    expect(leaves).toHaveLength(216)
    const children = leaves.slice(0, scaled(30)).map(sleeper)
    await Promise.all(children.map(({ spawned }) => spawned))
    await cgroup.remove({ kill: true })
    expect(existsSync(cgroup.path)).toBe(false)
    await Promise.all(children.map(({ exited }) => exited))
  })

  test('one that waits for its processes, the last of which makes cgroups before it ends', async () => {
    const cgroup = await cgroups.create('late')
    const child = spawn('sh', ['-c', 'read line; mkdir -p "$0/a/b" "$0/c"', cgroup.path], {
      cgroup,
      stdio: ['pipe', 'ignore', 'inherit'],
    })
    await child.spawned
    const removal = cgroup.remove()
    await delay(20)
    child.stdin?.end('go\n')
    await removal
    expect(existsSync(cgroup.path)).toBe(false)
    expect(await child.exited).toMatchObject({ code: 0 })
  })

  test('while processes in it make cgroups and children', async () => {
    const cgroup = await cgroups.create('busy')
    // They stop by themselves when the directory is gone, or after so many rounds.
    const script = `i=0; while [ $i -lt 5000 ] && [ -d "$0" ]; do i=$((i + 1)); mkdir "$0/$$-$i"; (sleep 1 &); done 2>&-`
    const children = [1, 2].map(() => spawn('sh', ['-c', script, cgroup.path], { cgroup, stdio: 'ignore' }))
    await Promise.all(children.map(({ spawned }) => spawned))
    while (below(cgroup.path).length < 5) await delay(5)
    await cgroup.remove({ kill: true })
    expect(existsSync(cgroup.path)).toBe(false)
    await Promise.all(children.map(({ exited }) => exited))
  })

  test('by several at once', async () => {
    const cgroup = await cgroups.create('several')
    tree(cgroup.path, ['a', 'b', 'c'], 3)
    const others = await Promise.all([1, 2, 3].map(() => cgroups.open(cgroup.path)))
    const child = sleeper(cgroup)
    await child.spawned
    await Promise.all([cgroup, ...others].map((one) => one.remove({ kill: true })))
    expect(existsSync(cgroup.path)).toBe(false)
    await child.exited
  })

  test('a frozen one below', async () => {
    const cgroup = await cgroups.create('cold')
    const inner = await cgroups.create('inner', {}, { parent: cgroup })
    const child = sleeper(inner)
    await child.spawned
    await inner.freeze()
    await cgroup.remove({ kill: true })
    expect((await child.exited).signal).toBe('SIGKILL')
    expect(existsSync(cgroup.path)).toBe(false)
    await inner.remove()
  })

  test('given up, it can be begun again', async () => {
    const cgroup = await cgroups.create('again')
    tree(cgroup.path, ['a', 'b'], 2)
    const child = sleeper(join(cgroup.path, 'a', 'b'))
    await child.spawned
    const abort = new AbortController()
    const removal = cgroup.remove({ signal: abort.signal })
    abort.abort()
    await expect(removal).rejects.toMatchObject({ name: 'AbortError' })
    expect(sh(`find '${cgroup.path}' -type d | wc -l`)).toBe('7')
    await cgroup.remove({ kill: true })
    await child.exited
    expect(existsSync(cgroup.path)).toBe(false)
  })
})
