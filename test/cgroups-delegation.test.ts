// Cgroups of an ordinary user.
import { expect, test } from '@jest/globals'
import { execFileSync } from 'node:child_process'
import {
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { access, constants } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { cgroups } from 'fancyproc'
import { directories, root, scratch, thrown, useScratch } from './support/cgroups.ts'
import { on } from './support/machine.ts'

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

on({ user: 'root', cgroup: 'v2-any' }).describe('delegation', () => {
  useScratch()

  on({ tools: 'setpriv' }).test('an ordinary user in a subtree of his own', () => {
    const uid = 65534
    const copy = mkdtempSync(join(tmpdir(), 'fancyproc-'))
    const subtree = join(scratch, 'delegated')
    const leaf = join(subtree, 'leaf')
    try {
      // He may not be allowed to read where this file is.
      cpSync('dist/lib', join(copy, 'lib'), { recursive: true })
      cpSync('build/Release/fancyproc.node', join(copy, 'fancyproc.node'))
      writeFileSync(join(copy, 'package.json'), '{"type":"module"}')
      chownSync(copy, uid, uid)
      for (const directory of [subtree, leaf]) {
        mkdirSync(directory)
        for (const file of ['', 'cgroup.procs', 'cgroup.subtree_control'])
          chownSync(join(directory, file), uid, uid)
      }
      const script = `import { cgroups } from '${copy}/lib/cgroups.js'
        const group = await cgroups.create('his')
        console.log(group.path)
        const error = await cgroups.create('his', {}, { parent: '${scratch}' }).catch((error) => error)
        console.log(error.code)`.concat('\nawait group.remove()')
      const run = `echo $$ > ${leaf}/cgroup.procs && exec setpriv --reuid ${String(uid)} --regid ${String(uid)} --clear-groups "$@"`
      const args = ['-c', run, 'sh', process.execPath, '--input-type=module', '-e', script]
      const env = { PATH: process.env['PATH'], FANCYPROC_BINARY: join(copy, 'fancyproc.node') }
      const output = execFileSync('sh', args, { cwd: '/', encoding: 'utf8', env }).trim().split('\n')
      expect(output[0]?.startsWith(`${leaf}/fancyproc.`)).toBe(true)
      expect(output[1]).toBe('EACCES')
      expect(directories(leaf)).toEqual([])
    } finally {
      rmSync(copy, { recursive: true })
      for (const directory of [leaf, subtree]) if (existsSync(directory)) rmdirSync(directory)
    }
  })
})
