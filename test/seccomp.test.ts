// Under a filter that knows less than we need, as of an old container engine: the error says which call was refused.
import { expect, test } from '@jest/globals'
import { writeFileSync } from 'node:fs'
import { command, script } from './support/fork.ts'
import { on } from './support/machine.ts'
import { scratch } from './support/scratch.ts'

const path = scratch()

const CLOSE_RANGE_CLOEXEC = 4
const SECCOMP_RET_ERRNO = 0x5_0000
const SECCOMP_RET_ALLOW = 0x7fff_0000
const errnos = { EPERM: 1, EINVAL: 22, ENOSYS: 38 }
// The same on x86-64 and arm64.
const calls = { pidfd_open: 434, clone3: 435, close_range: 436 }

/** A program for bwrap: one call has this errno, if its third argument is as given. (Nobody attacks: no other architecture.) */
function filter(call: keyof typeof calls, errno: keyof typeof errnos, third?: number): Buffer {
  const instructions = [
    [0x20, 0, 0, 0], // the call's number
    [0x15, 0, third === undefined ? 1 : 3, calls[call]],
    ...(third === undefined ? [] : [[0x20, 0, 0, 32], [0x15, 0, 1, third]]), // prettier-ignore
    [0x06, 0, 0, SECCOMP_RET_ERRNO | errnos[errno]],
    [0x06, 0, 0, SECCOMP_RET_ALLOW],
  ]
  const bytes = Buffer.alloc(8 * instructions.length)
  for (const [i, [code = 0, yes = 0, no = 0, value = 0]] of instructions.entries()) {
    bytes.writeUInt16LE(code, 8 * i)
    bytes[8 * i + 2] = yes
    bytes[8 * i + 3] = no
    bytes.writeUInt32LE(value, 8 * i + 4)
  }
  return bytes
}

/** What `text` prints as JSON, in Node under that filter. */
async function under(
  call: keyof typeof calls,
  errno: keyof typeof errnos,
  text: string,
  third?: number,
): Promise<Record<string, unknown>> {
  writeFileSync(path('filter'), filter(call, errno, third))
  const node = [process.execPath, ...script(text)]
  const shell = 'exec bwrap --dev-bind / / --seccomp 9 "$@" 9<"$0"'
  const { stdout, stderr } = await command('sh', ['-c', shell, path('filter'), ...node])
  expect(stderr).toBe('')
  return JSON.parse(stdout) as Record<string, unknown>
}

const told = `
  import { inNamespaces, probe, processes, spawn } from 'fancyproc'
  import { clone, readFile } from 'fancyproc/steps'
  const tell = async (action) => {
    try { return await action() } catch ({ code, syscall, hint }) { return { code, syscall, hint } }
  }
  const code = async (options) => (await spawn('true', { stdio: 'ignore', ...options }).exited).code
`

on({ tools: 'bwrap', userns: true, sanitizer: false }).describe('a filter', () => {
  test('without clone3: ENOSYS, whose it is, and no fallback', async () => {
    const said = await under(
      'clone3',
      'ENOSYS',
      `${told}
      const { namespaces: { user } } = await probe()
      console.log(JSON.stringify({ spawn: await tell(() => code({})), user }))`,
    )
    const hint = expect.stringContaining('a seccomp filter around this process') as unknown
    expect(said['spawn']).toEqual({ code: 'ENOSYS', syscall: 'clone3', hint })
    expect(said['user']).toMatchObject({ available: false, why: hint })
  })

  test('without close_range: nothing is started that might have a descriptor too many', async () => {
    const said = await under(
      'close_range',
      'ENOSYS',
      `${told} console.log(JSON.stringify({ spawn: await tell(() => code({})) }))`,
    )
    expect(said['spawn']).toMatchObject({ code: 'ENOSYS', syscall: 'close_range' })
  })

  test('without CLOSE_RANGE_CLOEXEC, as Linux 5.10: what is not the program’s is closed all the same', async () => {
    const said = await under(
      'close_range',
      'EINVAL',
      `${told}
      import { run } from 'fancyproc'
      import { open } from 'fancyproc/steps'
      const steps = [open('/dev/zero')]
      const script = 'for fd in $(seq 3 60); do [ -e /proc/$$/fd/$fd ] && echo $fd; done; exit 0'
      const { stdout } = await run('sh', ['-c', script], { steps })
      console.log(JSON.stringify({ stdout }))`,
      CLOSE_RANGE_CLOEXEC,
    )
    expect(said).toEqual({ stdout: '' })
  })

  test.each(['EPERM', 'ENOSYS'] as const)(
    'without pidfd_open (%s): our own children need none',
    async (errno) => {
      const said = await under(
        'pidfd_open',
        errno,
        `${told}
      console.log(JSON.stringify({
        spawn: await tell(() => code({})),
        open: await tell(() => processes.open(process.pid).pid),
        join: await tell(() => inNamespaces(process.pid, [readFile('name', '/etc/hostname')])),
      }))`,
      )
      expect(said['spawn']).toBe(0)
      expect(said['open']).toMatchObject({ code: errno, syscall: 'pidfd_open' })
      expect(said['join']).toMatchObject({ code: errno, syscall: 'pidfd_open' })
    },
  )

  // Not EPERM of clone3, with the advice to make a user namespace.
  test.each(['EPERM', 'ENOSYS'] as const)('without pidfd_open (%s): a clone step says so', async (errno) => {
    const said = await under(
      'pidfd_open',
      errno,
      `${told} console.log(JSON.stringify({ clone: await tell(() => code({ steps: [clone()] })) }))`,
    )
    expect(said['clone']).toMatchObject({ code: errno, syscall: 'pidfd_open' })
  })
})
