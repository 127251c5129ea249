// The program: which one it is, and what it finds when it starts.
import { describe, expect, test } from '@jest/globals'
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  writeFileSync,
} from 'node:fs'
import { run, spawn } from 'fancyproc'
import { childFd, chdir, chroot, dup, setPdeathsig } from 'fancyproc/steps'
import { command, root, script } from './support/fork.ts'
import { on } from './support/machine.ts'
import { asleep, fds, limits, session, stat, status, statusField, strings } from './support/proc.ts'
import { scratch } from './support/scratch.ts'

const path = scratch()

/** An executable script in a directory of its own. */
function program(where: string, name: string, text: string, mode = 0o755): void {
  mkdirSync(path(where), { recursive: true })
  writeFileSync(path(where, name), text)
  chmodSync(path(where, name), mode)
}

describe('the program', () => {
  test('is the one that was named, with its arguments', async () => {
    const args = ['-c', 'read line; exit 3', 'x y', '', 'é\n']
    await using child = await spawn('/bin/sh', args).spawned
    await asleep(child.pid)
    expect(strings(child.pid, 'cmdline')).toEqual(['/bin/sh', ...args])
    expect(readlinkSync(`/proc/${String(child.pid)}/exe`)).toBe(realpathSync('/bin/sh'))
    expect(Number(stat(child.pid)[1])).toBe(process.pid)
    expect([child.spawnfile, child.spawnargs]).toEqual(['/bin/sh', ['/bin/sh', ...args]])
    child.stdin!.end()
    const { usage, ...exit } = await child.exited
    expect(exit).toEqual({ code: 3, signal: null, reason: 'exited' })
    expect([child.exitCode, child.signalCode]).toEqual([3, null])
    expect(usage!.minorPageFault).toBeGreaterThan(0)
    expect(usage!.userCPUTime + usage!.systemCPUTime).toBeGreaterThan(0)
  })

  test('has the scheduling policy of Node, not that of the thread that makes it', async () => {
    const policy = (task: number | undefined): string | undefined => stat(task)[38]
    await using child = await spawn('sleep', ['1000']).spawned
    expect(policy(child.pid)).toBe('0')
    const makers = readdirSync('/proc/self/task').filter(
      (task) => readFileSync(`/proc/self/task/${task}/comm`, 'latin1') === 'fancyproc:spawn\n',
    )
    expect(makers.map((task) => policy(Number(task)))).toEqual(makers.map(() => '3'))
    expect(makers).not.toEqual([])
  })

  on({ tools: 'chrt' }).test("Node's own policy, if it has another", async () => {
    const text = `
      import { run } from 'fancyproc'
      console.log((await run('chrt', ['-p', '0'])).stdout.split('\\n')[0])
    `
    const { stdout } = await command('chrt', ['--idle', '0', process.execPath, ...script(text)])
    expect(stdout).toMatch(/SCHED_IDLE$/m)
  })

  test('has the argv[0] that was asked for', async () => {
    await using child = await spawn('sleep', ['1000'], { argv0: '-name' }).spawned
    await asleep(child.pid)
    expect(strings(child.pid, 'cmdline')).toEqual(['-name', '1000'])
    expect(child.spawnargs).toEqual(['-name', '1000'])
    // An empty one, too.
    expect((await run('/bin/sh', ['-c', 'cat /proc/$$/cmdline'], { argv0: '' })).stdout[0]).toBe('\0')
  })

  test('is looked up in the PATH of the child, not of this process', async () => {
    program('bin', 'fancyproc-program', '#!/bin/sh\necho "here: $0"\n')
    const env = { PATH: `/nonexistent:${path('bin')}:/bin` }
    expect((await run('fancyproc-program', [], { env })).stdout).toBe(
      `here: ${path('bin/fancyproc-program')}\n`,
    )
    const before = process.env['PATH']
    process.env['PATH'] = `${path('bin')}:${before ?? ''}`
    try {
      await expect(run('fancyproc-program')).rejects.toMatchObject({ code: 'ENOENT', syscall: 'execve' })
    } finally {
      process.env['PATH'] = before
    }
  })

  test('is looked up after the last step, relative parts of PATH in the directory where that left it', async () => {
    program('relative/sub', 'fancyproc-relative', '#!/bin/sh\npwd\n')
    const where = path('relative')
    for (const [PATH, step] of [
      ['sub', where],
      ['', `${where}/sub`],
      ['/nonexistent:', `${where}/sub`],
      [':/nonexistent', `${where}/sub`],
    ] as const) {
      expect((await run('fancyproc-relative', [], { env: { PATH }, steps: [chdir(step)] })).stdout).toBe(
        `${step}\n`,
      )
    }
    expect((await run('./sub/fancyproc-relative', [], { steps: [chdir(where)] })).stdout).toBe(`${where}\n`)
  })

  test('is the first of PATH that can be executed', async () => {
    program('first', 'fancyproc-twice', 'no program', 0o644)
    mkdirSync(path('second/fancyproc-twice'), { recursive: true })
    program('third', 'fancyproc-twice', '#!/bin/sh\necho third\n')
    const list = (...names: string[]): string => names.map((name) => path(name)).join(':')
    const found = run('fancyproc-twice', [], { env: { PATH: list('first', 'second', 'third') } })
    expect((await found).stdout).toBe('third\n')
    // As execvp(3) has it: that one was there, and not executable, is worth more than that others were not.
    const refused = run('fancyproc-twice', [], { env: { PATH: list('first', 'nowhere') } })
    await expect(refused).rejects.toMatchObject({
      code: 'EACCES',
      syscall: 'execve',
      path: 'fancyproc-twice',
    })
  })

  test('is found behind an entry of PATH that is longer than a path can be', async () => {
    program('long', 'fancyproc-long', '#!/bin/sh\necho found\n')
    for (const length of [4079, 4080, 4081, 4095, 4096, 4097, 9000]) {
      const env = { PATH: `/${'x/'.repeat(length / 2)}${length % 2 ? 'y' : ''}:${path('long')}` }
      expect((await run('fancyproc-long', [], { env })).stdout).toBe('found\n')
    }
  })

  on({ user: 'root' }).test('is looked up in the root that the steps have made', async () => {
    const missing = run('/bin/true', [], { steps: [chroot(path())] })
    await expect(missing).rejects.toMatchObject({ code: 'ENOENT', syscall: 'execve', path: '/bin/true' })
    program('bin', 'fancyproc-inside', '#!/bin/sh\n')
    // In there it is at /bin, and has no interpreter.
    const inside = run('fancyproc-inside', [], { steps: [chroot(path())], env: { PATH: '/bin' } })
    await expect(inside).rejects.toMatchObject({
      code: 'ENOENT',
      hint: expect.stringContaining('root that the steps made') as unknown,
    })
  })
})

describe('its environment', () => {
  test('is a minimal one unless given, so that no secret of this process gets into it', async () => {
    process.env['FANCYPROC_SECRET'] = 'secret'
    try {
      await using child = await spawn('sleep', ['1000']).spawned
      await asleep(child.pid)
      expect(strings(child.pid, 'environ')).toEqual([
        'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      ])
      await using onPty = await spawn('sleep', ['1000'], { stdio: 'pty' }).spawned
      await asleep(onPty.pid)
      expect(strings(onPty.pid, 'environ')).toEqual([expect.stringMatching(/^PATH=/), 'TERM=xterm'])
    } finally {
      delete process.env['FANCYPROC_SECRET']
    }
  })

  test('is exactly the given one', async () => {
    const env = { PATH: '/bin', EMPTY: '', UNDEFINED: undefined, 'odd name': 'a=b\nc', é: 'ü' }
    await using child = await spawn('sleep', ['1000'], { env }).spawned
    await asleep(child.pid)
    expect(strings(child.pid, 'environ')).toEqual(['PATH=/bin', 'EMPTY=', 'odd name=a=b\nc', 'é=ü'])
    await using bare = await spawn('/bin/sleep', ['1000'], { env: {} }).spawned
    await asleep(bare.pid)
    expect(strings(bare.pid, 'environ')).toEqual([])
  })
})

describe('its state', () => {
  test('signals: none blocked, none ignored, though Node ignores SIGPIPE and SIGXFSZ', async () => {
    // Without that there would be nothing to reset.
    expect(BigInt(`0x${status('self', 'SigIgn')}`) & (1n << 12n)).toBe(1n << 12n)
    const { stdout } = await run('cat', ['/proc/self/status'])
    for (const field of ['SigBlk', 'SigIgn', 'SigCgt', 'SigPnd', 'ShdPnd']) {
      expect([field, statusField(stdout, field)]).toEqual([field, '0'.repeat(16)])
    }
  })

  test('SIGPIPE ends it', async () => {
    await using child = spawn('sh', ['-c', 'kill -STOP $$; while echo x; do :; done'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    await child.spawned
    while (stat(child.pid)[0] !== 'T') await new Promise(setImmediate)
    child.stdout!.destroy()
    await new Promise((resolve) => child.stdout!.once('close', resolve))
    child.kill('SIGCONT')
    expect(await child.exited).toMatchObject({ code: null, signal: 'SIGPIPE', reason: 'signaled' })
  })

  test('the soft limit of descriptors is 1024, though Node has raised its own', async () => {
    const [, hard] = limits('self', 'Max open files')
    await using child = await spawn('sleep', ['1000']).spawned
    expect(limits(child.pid, 'Max open files')).toEqual([String(Math.min(1024, Number(hard))), hard])
  })

  test('same ids, session, directory and umask as ours; no capability more, no new restriction', async () => {
    await using child = await spawn('sleep', ['1000']).spawned
    for (const field of [
      'Uid',
      'Gid',
      'Groups',
      'CapEff',
      'CapPrm',
      'CapInh',
      'CapAmb',
      'CapBnd',
      'NoNewPrivs',
      'Umask',
    ]) {
      expect([field, status(child.pid, field)]).toEqual([field, status('self', field)])
    }
    expect(session(child.pid)).toBe(session('self'))
    expect(readlinkSync(`/proc/${String(child.pid)}/cwd`)).toBe(process.cwd())
  })

  test('detached: a session of its own', async () => {
    await using child = await spawn('sleep', ['1000'], { detached: true }).spawned
    expect(session(child.pid)).toBe(child.pid)
  })

  test('descriptors: exactly 0 to 2', async () => {
    await using child = await spawn('sleep', ['1000']).spawned
    await asleep(child.pid)
    expect(Object.keys(fds(child.pid))).toEqual(['0', '1', '2'])
  })

  test('a descriptor of ours that is not CLOEXEC does not get there', async () => {
    const text = `
      import { readdirSync, readFileSync } from 'node:fs'
      import { spawn } from 'fancyproc'
      const child = await spawn('sleep', ['1000']).spawned
      while (!readFileSync('/proc/' + child.pid + '/stat', 'latin1').includes(' S ')) await new Promise(setImmediate)
      const flags = /flags:\\s*(\\d+)/.exec(readFileSync('/proc/self/fdinfo/100', 'utf8'))[1]
      console.log(parseInt(flags, 8) & 0o2000000, readdirSync('/proc/' + child.pid + '/fd').join())
      child.kill()`
    // Node marks the lowest ones that it was started with: one above those.
    const steps = [chdir(root), dup(childFd(0), 100)]
    const { stdout, stderr } = await run(process.execPath, script(text), { steps })
    expect([stderr, stdout]).toEqual(['', '0 0,1,2\n'])
  })
})

describe('its parent-death signal', () => {
  const tools = 'setpriv'

  on({ tools }).test('is none, though there was one during the setup', async () => {
    const { stdout } = await run('setpriv', ['--dump'])
    expect(stdout).toMatch(/^Parent death signal: \[none\]$/m)
  })

  on({ tools }).test('is that of a step', async () => {
    const { stdout } = await run('setpriv', ['--dump'], { steps: [setPdeathsig('SIGUSR1'), chdir('/')] })
    expect(stdout).toMatch(/^Parent death signal: (SIG)?USR1$/m)
  })
})
