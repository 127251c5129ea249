// `clone` steps, and what belongs to the process that a plan ends in: session, terminal, being first, id maps.
import { expect } from '@jest/globals'
import { run, spawn } from 'fancyproc'
import { clone, gidMap, mapUser, uidMap, unshare } from 'fancyproc/steps'
import { on } from './support/machine.ts'

const own = (): { uid: number; gid: number } => ({
  uid: process.geteuid?.() ?? -1,
  gid: process.getegid?.() ?? -1,
})
const session = 'tty; ps -o sid= -p $$ | tr -d " "; echo $$'

on({}).test('a pty is the terminal of the process that was cloned last', async () => {
  const { stdout, code } = await run('sh', ['-c', session], { stdio: 'pty', steps: [clone()] })
  expect(stdout).toMatch(/^\/dev\/pts\/\d+\r\n(\d+)\r\n\1\r\n$/)
  expect(code).toBe(0)
})

on({}).test('so is the session of a detached one', async () => {
  const { stdout } = await run('sh', ['-c', session], { detached: true, steps: [clone(), clone()] })
  expect(stdout).toMatch(/^not a tty\n(\d+)\n\1\n$/)
})

on({ userns: true }).test(
  'the first of a pid namespace is ended by what ends one, however it was made',
  async () => {
    for (const steps of [
      [unshare('user'), mapUser(), unshare('pid'), clone()],
      [unshare('user'), mapUser(), clone('pid')],
    ]) {
      const child = spawn('sleep', ['100'], { steps, timeout: 200 })
      expect(await child.exited).toMatchObject({ signal: 'SIGKILL', reason: 'timeout' })
    }
  },
)

on({ userns: true }).test('a map in a nested user namespace is the child’s own to write', async () => {
  const steps = [mapUser(), unshare('user'), uidMap({ inside: 1000, outside: 0, count: 1 })]
  const { stdout } = await run('id', ['-u'], { namespaces: ['user'], steps })
  expect(stdout).toBe('1000\n')
})

on({ user: 'root', userns: true }).test('root maps its own gid alone, with setgroups allowed', async () => {
  const { uid, gid } = own()
  const steps = [uidMap({ inside: 0, outside: uid, count: 1 }), gidMap({ inside: 0, outside: gid, count: 1 })]
  const { stdout } = await run('cat', ['/proc/self/setgroups'], { namespaces: ['user'], steps })
  expect(stdout).toBe('allow\n')
})
