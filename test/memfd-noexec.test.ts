// vm.memfd_noexec, of a pid namespace: where no memfd may be executed, the helper is the file beside the addon.
import { expect } from '@jest/globals'
import { run } from 'fancyproc'
import { chdir, makePrivate, mount, writeFile } from 'fancyproc/steps'
import { root, script } from './support/fork.ts'
import { on, patient } from './support/machine.ts'

const text = `
  import { run, spawn } from 'fancyproc'
  import { sethostname } from 'fancyproc/steps'
  const isolated = { namespaces: ['uts'], steps: [sethostname('inside')] }
  const { stdout } = await run('uname', ['-n'], isolated)
  const target = await spawn('sleep', ['1000'], isolated).spawned
  const joined = await run('true', [], { join: target.pid }).catch(({ code, hint }) => ({ code, hint }))
  target.kill('SIGKILL')
  await target.exited
  console.log(JSON.stringify({ stdout, joined }))
`

on({ user: 'root', kernel: '6.3', sanitizer: false }).test(
  'where the sysctl is 2, programs start, and joining is refused with the reason',
  async () => {
    const { stdout, stderr } = await run(process.execPath, script(text), {
      namespaces: ['pid', 'mnt'],
      steps: [
        makePrivate('/', { recursive: true }),
        mount({ source: 'proc', target: '/proc', type: 'proc' }),
        chdir(root),
        writeFile('/proc/sys/vm/memfd_noexec', '2'),
      ],
      timeout: patient(20_000),
    })
    expect(stderr).toBe('')
    const { joined, ...seen } = JSON.parse(stdout) as {
      stdout: string
      joined: { code: string; hint: string }
    }
    expect(seen).toEqual({ stdout: 'inside\n' })
    expect(joined.code).toBe('EACCES')
    expect(joined.hint).toContain('vm.memfd_noexec is 2 here')
  },
)
