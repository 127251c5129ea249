// AppArmor: processes that a profile confines.
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { apparmor, KernelError, run, spawn } from 'fancyproc'
import { aaChangeOnexec, aaChangeProfile, open, setNoNewPrivs, type Steps } from 'fancyproc/steps'
import { command, fork, script } from './support/fork.ts'
import { facts, on } from './support/machine.ts'
import { begun, blocked, scratch } from './support/scratch.ts'

const path = scratch()
const here = on({ lsm: 'apparmor' })
const loader = on({ lsm: 'apparmor', user: 'root', tools: 'apparmor_parser' })
const name = `fancyproc-test-${String(process.pid)}`

/** A profile that allows everything but one file. */
function load(option: string): void {
  const text = `profile ${name} flags=(attach_disconnected) {
    file, signal, ptrace, unix, capability, change_profile,
    deny ${path('secret')} r,
  }\n`
  const { status, stderr } = spawnSync('apparmor_parser', [option, '--skip-cache'], {
    input: text,
    encoding: 'utf8',
  })
  expect({ status, stderr: status === 0 ? '' : stderr }).toEqual({ status: 0, stderr: '' })
}

if (facts.lsm === 'apparmor' && facts.user === 'root') {
  beforeAll(() => {
    writeFileSync(path('secret'), 'secret\n')
    load('--replace')
  })
  afterAll(() => {
    load('--remove')
  })
}

const refusal = (steps: Steps[]): Promise<unknown> =>
  run('true', [], { steps }).catch((error: unknown) => error)

loader.test('a program is confined by the profile that it is given', async () => {
  const cat = (...steps: Steps[]): Promise<{ code: number | null; stdout: string; stderr: string }> =>
    run('cat', [path('secret')], { steps })
  expect(await cat()).toMatchObject({ code: 0, stdout: 'secret\n' })
  expect(await cat(aaChangeOnexec(name))).toMatchObject({
    code: 1,
    stdout: '',
    stderr: expect.stringContaining('Permission denied') as unknown,
  })
  await using child = await spawn('sleep', ['1000'], { steps: [aaChangeOnexec(name)] }).spawned
  expect(apparmor.gettaskcon(child.pid!)).toEqual({ label: name, mode: 'enforce' })
})

loader.test('it is there from the execve on, that of aaChangeProfile at once', async () => {
  await using child = spawn('true', {
    steps: [aaChangeOnexec(name), open(path('secret')), blocked(path('fifo'))],
  })
  const pid = await begun(child)
  expect(apparmor.gettaskcon(pid)).toEqual({ label: 'unconfined', mode: undefined })
  expect(readFileSync(`/proc/${String(pid)}/attr/apparmor/exec`, 'utf8').replace(/[\0\n]+$/, '')).toBe(
    `${name} (enforce)`,
  )
  const steps = [aaChangeProfile(name), open(path('secret'))]
  await expect(run('true', [], { steps })).rejects.toMatchObject({
    code: 'EACCES',
    syscall: 'openat',
    step: 1,
  })
})

loader.test('a thread: the next execve of child_process', async () => {
  const { stdout, stderr } = await fork(`
    import { spawnSync } from 'node:child_process'
    import { aaChangeOnexec, aaChangeProfile } from 'fancyproc/thread'
    import { apparmor } from 'fancyproc'
    const child = () => spawnSync('cat', ['/proc/self/attr/apparmor/current'], { encoding: 'utf8' }).stdout.trim()
    aaChangeOnexec('${name}')
    console.log(child())
    aaChangeOnexec('unconfined')
    console.log(child())
    aaChangeProfile('${name}')
    console.log(JSON.stringify(apparmor.getcon()), JSON.stringify(apparmor.gettaskcon(process.pid)))`)
  expect(stderr).toBe('')
  expect(stdout.trim().split('\n')).toEqual([
    `${name} (enforce)`,
    'unconfined',
    `{"label":"${name}","mode":"enforce"} {"label":"${name}","mode":"enforce"}`,
  ])
})

const tracer = on({
  lsm: 'apparmor',
  user: 'root',
  tools: ['apparmor_parser', 'strace'],
  kernel: '6.8',
  sanitizer: false,
})
tracer.test('a kernel without lsm_set_self_attr has the files of /proc', async () => {
  const program = `
    import { spawnSync } from 'node:child_process'
    import { apparmor, run } from 'fancyproc'
    import { aaChangeOnexec, aaChangeProfile, makePrivate, mount, open } from 'fancyproc/steps'
    import * as thread from 'fancyproc/thread'
    const [, name, secret] = process.argv
    // With another /proc by then, which is no procfs.
    const covered = [makePrivate('/', { recursive: true }), mount({ source: 'none', target: '/proc', type: 'tmpfs' })]
    const cat = async (...steps) => {
      const options = { namespaces: ['mnt'], steps: [...covered, ...steps] }
      const { code, stdout, step, syscall } = await run('cat', [secret], options).catch((error) => error)
      console.log(JSON.stringify([code, stdout, step, syscall]))
    }
    await cat()
    await cat(aaChangeOnexec(name), open(secret))
    await cat(aaChangeProfile(name))
    await cat(aaChangeProfile(name), open(secret))
    thread.aaChangeOnexec(name)
    console.log(spawnSync('cat', ['/proc/self/attr/apparmor/current'], { encoding: 'utf8' }).stdout.trim())
    console.log(JSON.stringify(apparmor.getcon()))
    thread.aaChangeOnexec('unconfined')
    thread.aaChangeProfile(name)
    console.log(JSON.stringify(apparmor.getcon()))`
  const trace = path('trace')
  const inject = ['-e', 'trace=lsm_set_self_attr,write', '-e', 'inject=lsm_set_self_attr:error=ENOSYS']
  const { stdout, stderr } = await command('strace', [
    ...['-f', '-o', trace, ...inject, process.execPath],
    ...[...script(program), name, path('secret')],
  ])
  expect(stderr).toBe('')
  expect(stdout.trim().split('\n')).toEqual([
    '[0,"secret\\n",null,null]',
    '[1,"",null,null]',
    '[1,"",null,null]',
    '["EACCES",null,3,"openat"]',
    `${name} (enforce)`,
    '{"label":"unconfined"}',
    `{"label":"${name}","mode":"enforce"}`,
  ])
  const text = readFileSync(trace, 'utf8')
  // Three of steps, three of a thread.
  expect(text.match(/lsm_set_self_attr\(.*ENOSYS.*INJECTED/g)).toHaveLength(6)
  expect(text.match(/write\(\d+, "(exec|changeprofile) /g)).toHaveLength(6)
})

here.test('a profile that is not loaded, and any that allows more with no_new_privs', async () => {
  for (const change of [aaChangeOnexec, aaChangeProfile]) {
    const step = change('no-such-profile')
    expect(await refusal([step])).toMatchObject({
      code: 'ENOENT',
      path: 'no-such-profile',
      syscall: step.calls.length === 1 ? 'lsm_set_self_attr' : 'write',
      hint: expect.stringContaining('no such profile is loaded') as unknown,
    })
  }
})

loader.test('with no_new_privs a confined process stays confined', async () => {
  const steps = [aaChangeProfile(name), setNoNewPrivs(), aaChangeProfile('unconfined')]
  expect(await refusal(steps)).toMatchObject({
    code: 'EPERM',
    step: 2,
    hint: expect.stringContaining('allows less') as unknown,
  })
})

here.test('an unconfined process is told as that', () => {
  expect(apparmor.enabled()).toBe(true)
  expect(apparmor.getcon()).toEqual({ label: 'unconfined', mode: undefined })
  expect(apparmor.gettaskcon(process.pid)).toEqual(apparmor.getcon())
  expect(() => apparmor.gettaskcon(0x7fff_ffff)).toThrow(/^ENOENT/)
})

on({ lsm: ['none', 'selinux'] }).test('that is off fails, and does not pretend', () => {
  expect(apparmor.enabled()).toBe(false)
  for (const [syscall, ask] of [
    ['aa_getcon', () => apparmor.getcon()],
    ['aa_gettaskcon', () => apparmor.gettaskcon(1)],
  ] as const) {
    let thrown: unknown
    try {
      ask()
    } catch (error) {
      thrown = error
    }
    expect(thrown).toBeInstanceOf(KernelError)
    expect(thrown).toMatchObject({
      code: 'EOPNOTSUPP',
      syscall,
      hint: expect.stringMatching(/^AppArmor is off/) as unknown,
    })
  }
})

test('is asked about a pid only', () => {
  expect(() => apparmor.gettaskcon(0)).toThrow('gettaskcon: pid: no pid: 0')
})
