// What owners leave that died.
import { expect, test } from '@jest/globals'
import { execFileSync, spawn as spawnNode } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { cgroups } from 'fancyproc'
import { directories, endAfter, make, scratch, sleeper, useScratch } from './support/cgroups.ts'
import { on } from './support/machine.ts'

const namespace =
  /\[(\d+)\]/.exec(
    existsSync('/proc/self/ns/pid') ? execFileSync('readlink', ['/proc/self/ns/pid']).toString() : '',
  )?.[1] ?? ''

on({ user: 'root', cgroup: 'v2-any' }).describe('sweep', () => {
  useScratch()

  const orphan = (name: string): string => {
    const path = join(scratch, name)
    mkdirSync(path)
    return path
  }

  test('takes those of dead owners only', async () => {
    await using own = await make('mine')
    const child = sleeper()
    const end = once(child, 'exit')
    child.kill('SIGKILL')
    await end
    const dead = orphan(`fancyproc.${namespace}.${String(child.pid)}.1.dead`)
    mkdirSync(join(dead, 'below'))
    const reused = orphan(`fancyproc.${namespace}.${String(process.pid)}.1.reused`)
    const foreign = orphan(`fancyproc.1.${String(child.pid)}.1.foreign`)
    const plain = orphan('fancyproc.plain')
    const { removed, kept } = await cgroups.sweep({ parent: scratch })
    expect(removed.sort()).toEqual([dead, reused].sort())
    expect(kept).toEqual(
      expect.arrayContaining([
        { path: own.path, reason: `its owner ${String(process.pid)} lives` },
        { path: foreign, reason: 'its owner belongs to another pid namespace' },
      ]),
    )
    expect(directories(scratch).sort()).toEqual([own.name, basename(foreign), basename(plain)].sort())
    rmdirSync(foreign)
    rmdirSync(plain)
  })

  test('kills only if told so', async () => {
    const path = orphan(`fancyproc.${namespace}.${String(process.pid)}.1.busy`)
    const child = sleeper()
    const end = once(child, 'exit')
    writeFileSync(join(path, 'cgroup.procs'), String(child.pid))
    expect((await cgroups.sweep({ parent: scratch })).kept).toEqual([
      { path, reason: 'it still has processes' },
    ])
    expect((await cgroups.sweep({ parent: scratch, kill: true })).removed).toEqual([path])
    expect(await end).toEqual([null, 'SIGKILL'])
  })

  test('looks by default where create() puts them', async () => {
    const path = join(await cgroups.pathOf(), `fancyproc.${namespace}.${String(process.pid)}.1.default`)
    mkdirSync(path)
    expect((await cgroups.sweep()).removed).toContain(path)
  })

  test('what a killed Node process left', async () => {
    const script = `import { cgroups } from 'fancyproc'
      const group = await cgroups.create('victim', {}, { parent: ${JSON.stringify(scratch)} })
      console.log(group.path)
      setInterval(() => undefined, 1000)`
    const child = endAfter(
      spawnNode(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      }),
    )
    const [line] = (await once(child.stdout, 'data')) as [Buffer]
    const path = line.toString().trim()
    expect((await cgroups.sweep({ parent: scratch })).removed).toEqual([])
    const end = once(child, 'exit')
    child.kill('SIGKILL')
    await end
    expect((await cgroups.sweep({ parent: scratch })).removed).toEqual([path])
  })
})
