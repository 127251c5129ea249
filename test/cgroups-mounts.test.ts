// Cgroups where the mounts are not as usual: each in a mount namespace of its own, in a Node of its own.
import { expect } from '@jest/globals'
import { cgroups, run } from 'fancyproc'
import { makePrivate, type Steps, umount2 } from 'fancyproc/steps'
import { root, script } from './support/fork.ts'
import { on } from './support/machine.ts'

async function inNamespace(text: string, ...steps: Steps[]): Promise<unknown> {
  const { stdout, stderr } = await run(process.execPath, script(text), {
    namespaces: ['mnt'],
    steps: [makePrivate('/', { recursive: true }), ...steps],
    env: { PATH: process.env['PATH'], PWD: root },
  })
  expect(stderr).toBe('')
  return JSON.parse(stdout) as unknown
}

on({ user: 'root', cgroup: 'v2-any' }).test('probe() answers where no hierarchy is mounted', async () => {
  const text = `
    import { probe } from 'fancyproc'
    const { cgroup, controllers } = await probe()
    console.log(JSON.stringify([cgroup, controllers.pids]))`
  const answers = await inNamespace(text, umount2(await cgroups.mount(), 'MNT_DETACH'))
  const why = expect.stringMatching(/no cgroup2|no cgroup hierarchy|v1/) as unknown
  expect(answers).toEqual([
    { available: false, why },
    { available: false, why },
  ])
})

on({ user: 'root', cgroup: 'v2-any', tools: ['mount', 'umount'] }).test(
  'remove() ends where something is mounted on it, and leaves that alone',
  async () => {
    const text = `
      import { execFileSync } from 'node:child_process'
      import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
      import { cgroups } from 'fancyproc'
      const directory = mkdtempSync('/tmp/fancyproc-')
      mkdirSync(directory + '/theirs')
      const group = await cgroups.create('mounted')
      const below = await cgroups.create('below', {}, { parent: group })
      const said = []
      for (const [source, target] of [[group.path, group.path], [directory, group.path], [directory, below.path]]) {
        execFileSync('mount', ['--bind', source, target])
        for (const kill of [false, true]) {
          const { code, syscall, hint } = await group.remove({ kill }).catch((error) => error)
          said.push([code, syscall, hint.replace(target, 'it')])
        }
        execFileSync('umount', [target])
      }
      said.push(existsSync(directory + '/theirs'), existsSync(below.path))
      await group.remove()
      below.close()
      said.push(existsSync(group.path))
      rmSync(directory, { recursive: true })
      console.log(JSON.stringify(said))`
    const refused = ['EBUSY', 'rmdir', 'something is mounted on it: umount it first']
    expect(await inNamespace(text)).toEqual([...Array<string[]>(6).fill(refused), true, true, false])
  },
)
