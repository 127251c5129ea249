import { afterEach, describe, expect, test } from '@jest/globals'
import { spawn as nodeSpawn } from 'node:child_process'
import { once } from 'node:events'
import { fstatSync, readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Process, processes, spawn } from 'fancyproc'
import { fork } from './support/fork.ts'
import { on, patient } from './support/machine.ts'
import { comm, fds, stat } from './support/proc.ts'

const children: Process[] = []
afterEach(async () => {
  for (const child of children.splice(0)) await child[Symbol.asyncDispose]()
})

/** A shell, which starts what its script says: a grandchild, that is nothing to us. */
async function shell(script: string): Promise<Process> {
  const child = spawn('sh', ['-c', script], { stdio: ['pipe', 'pipe', 'inherit'] })
  children.push(child)
  await child.spawned
  return child
}

/** The pid that a shell prints. */
async function pidFrom(child: Process): Promise<number> {
  const [text] = (await once(child.stdout as NonNullable<typeof child.stdout>, 'data')) as [Buffer]
  return Number(text.toString())
}

/** One that is its shell's, which reaps it and then waits. */
const grandchild = (program: string): string => `${program} & echo $!; wait; read x`

describe('exited', () => {
  // Its shell reaps it at once: an older kernel has forgotten its status then.
  on({ kernel: '6.15' }).test('a stranger that exits', async () => {
    const child = await shell("exec 3<&0; sh -c 'read x; exit 7' <&3 & echo $!; wait; read x")
    const pid = await pidFrom(child)
    using handle = processes.open(pid)
    expect(handle.pid).toBe(pid)
    child.stdin?.write('\n')
    expect(await handle.exited).toEqual({ code: 7, signal: null })
  })

  on({ kernel: '6.15' }).test('a stranger that a signal ends', async () => {
    using handle = processes.open(await pidFrom(await shell(grandchild('sleep 1000'))))
    expect(handle.kill('SIGUSR1')).toBe(true)
    expect(await handle.exited).toEqual({ code: null, signal: 'SIGUSR1' })
    // A zombie takes signals still, until its shell has reaped it.
    const end = Date.now() + patient(5000)
    while (handle.kill(0) && Date.now() < end) await sleep(5)
    expect(handle.kill()).toBe(false)
    expect(await handle.info()).toBeUndefined()
  })

  const reaped = async (): Promise<unknown> => {
    using handle = processes.open(await pidFrom(await shell(grandchild('sleep 1000'))))
    handle.kill('SIGKILL')
    while (handle.kill(0)) await new Promise(setImmediate)
    return await handle.exited
  }

  on({ kernel: '6.15' }).test('resolves for one that was reaped before it was asked', async () => {
    expect(await reaped()).toEqual({ code: null, signal: 'SIGKILL' })
  })

  on({ before: '6.15' }).test('of one that was reaped, an older kernel tells nothing', async () => {
    expect(await reaped()).toEqual({ code: undefined, signal: undefined })
  })

  on({ user: 'root' }).test('a zombie, whose parent does not reap it', async () => {
    // sleep(1) has a child, and does not know.
    const child = await shell("exec 3<&0; sh -c 'read x; exit 3' <&3 & echo $!; exec sleep 1000")
    using handle = processes.open(await pidFrom(child))
    // Its shell would reap it.
    while (comm(child.pid ?? 'self') !== 'sleep') await new Promise(setImmediate)
    child.stdin?.end('\n')
    expect(await handle.exited).toEqual({ code: 3, signal: null })
    expect(stat(handle.pid)[0]).toBe('Z')
    expect((await handle.info(['state']))?.state).toBe('Z')
  })

  test('a child of ours, and one of child_process, which others reap', async () => {
    const child = await shell('read x; exit 4')
    const other = nodeSpawn('sh', ['-c', 'read x; exit 5'], { stdio: ['pipe', 'ignore', 'inherit'] })
    using handle = processes.open(child.pidfd ?? -1)
    using second = processes.open(other.pid ?? -1)
    expect(handle.pid).toBe(child.pid)
    const ends = [handle.exited, second.exited]
    child.stdin?.end('\n')
    other.stdin.end('\n')
    // The kernel keeps their status from 6.15 on; root may look at the zombie before, if he is in time.
    const codes = (await Promise.all(ends)).map(({ code }) => code)
    expect([4, undefined]).toContain(codes[0])
    expect([5, undefined]).toContain(codes[1])
    expect(await child.exited).toMatchObject({ code: 4 })
  })

  on({ user: 'root', kernel: '6.15' }).test('is told to those who may not ptrace it', async () => {
    const { stdout, stderr } = await fork(`
      import { processes } from 'fancyproc'
      import { once } from 'node:events'
      import { spawn } from 'node:child_process'
      const script = "exec 3<&0; sh -c 'read x; exit 9' <&3 & echo $!; wait; read x"
      const shell = spawn('sh', ['-c', script], { stdio: ['pipe', 'pipe', 'inherit'] })
      const handle = processes.open(Number(await once(shell.stdout, 'data')))
      process.setuid(65534)
      for (const attempt of [() => handle.getfd(0), () => handle.kill()]) {
        try { attempt() } catch ({ code, syscall }) { console.log(code, syscall) }
      }
      const { exited } = handle
      shell.stdin.write('\\n')
      console.log((await exited).code)
      shell.stdin.end()
    `)
    expect(stderr).toBe('')
    expect(stdout).toBe('EPERM pidfd_getfd\nEPERM pidfd_send_signal\n9\n')
  })

  test('keeps the event loop alive, unless unref() was called', async () => {
    const { pid } = await shell('read x')
    const script = (call: string): string => `
      import { processes } from 'fancyproc'
      const handle = processes.open(${String(pid)})
      ${call}
      handle.exited.then(() => console.log('ended'))
      process.on('exit', () => console.log('exit'))
    `
    expect(await fork(script('handle.unref()'))).toMatchObject({ code: 0, stdout: 'exit\n' })
    expect(
      await fork(script('handle.unref(); setImmediate(() => { handle.ref(); handle.kill("SIGKILL") })')),
    ).toMatchObject({
      code: 0,
      stdout: 'ended\nexit\n',
    })
    // Nobody has asked for its end.
    expect(await fork(`import { processes } from 'fancyproc'; processes.open(1)`)).toMatchObject({ code: 0 })
  })

  test('rejects when the handle is closed first', async () => {
    const { pid = 0 } = await shell('read x')
    const handle = processes.open(pid)
    const { exited } = handle
    handle.close()
    handle.close()
    await expect(exited).rejects.toMatchObject({ name: 'AbortError', code: 'ABORT_ERR' })
    await expect(handle.exited).rejects.toMatchObject({ name: 'AbortError' })
    expect(handle.pidfd.closed).toBe(true)
    expect(() => handle.kill()).toThrow(/EBADF.*pidfd_send_signal/)
    expect(() => handle.getfd(0)).toThrow(/EBADF.*pidfd_getfd/)
    expect(await handle.info(['pid'])).toBeUndefined()
  })

  test('leaves no descriptor behind', async () => {
    const { pid = 0 } = await shell('read x')
    processes.open(pid).close()
    const before = fds('self')
    for (let i = 0; i < 20; i++) {
      using handle = processes.open(pid)
      handle.exited.catch(() => undefined)
      using copy = processes.open(handle)
      await copy.info(['pid'])
    }
    expect(() => processes.open({ fd: 0 })).toThrow('expected a pid, a pidfd')
    while (Object.keys(fds('self')).length > Object.keys(before).length) await new Promise(setImmediate)
    expect(fds('self')).toEqual(before)
  })
})

describe('kill', () => {
  test('does not reach whoever has the pid next', async () => {
    const child = await shell(`sleep 1000 & echo $!; read x; kill -9 $!; wait; read x`)
    using handle = processes.open(await pidFrom(child))
    child.stdin?.write('\n')
    await handle.exited
    while (handle.kill(0)) await new Promise(setImmediate)
    expect(handle.kill('SIGKILL')).toBe(false)
  })

  on({ user: 'ordinary' }).test('is refused for another user’s', () => {
    using handle = processes.open(1)
    expect(() => handle.kill('SIGTERM')).toThrow(
      expect.objectContaining({
        code: 'EPERM',
        syscall: 'pidfd_send_signal',
        hint: expect.stringContaining('CAP_KILL'),
      }),
    )
    expect(() => handle.getfd(0)).toThrow(
      expect.objectContaining({
        code: 'EPERM',
        syscall: 'pidfd_getfd',
        hint: expect.stringContaining('ptrace'),
      }),
    )
  })

  test('no such signal', () => {
    using handle = processes.open(process.pid)
    expect(() => handle.kill('SIGNOPE' as never)).toThrow(TypeError)
    expect(handle.kill(0)).toBe(true)
  })
})

describe('getfd', () => {
  test('is the same open file', async () => {
    const child = await shell('read x; echo $x; read x')
    using handle = processes.open(child.pid ?? -1)
    using stdin = handle.getfd(0)
    const inode = (text: string): string | undefined => /\d+/.exec(text)?.[0]
    expect(String(fstatSync(stdin.fd).ino)).toBe(inode(fds(child.pid)[0] ?? ''))
    expect(String(stdin)).toBe(`fd 0 of ${String(child.pid)} ${String(stdin.fd)}`)
    expect(() => handle.getfd(99)).toThrow(
      expect.objectContaining({ code: 'EBADF', hint: 'the process has no such descriptor' }),
    )
    expect(() => handle.getfd(-1)).toThrow(RangeError)
    expect(() => handle.getfd('0' as never)).toThrow(TypeError)
  })
})

describe('open', () => {
  test('info is of this process', async () => {
    using handle = processes.open(process.pid)
    expect(await handle.info(['comm', 'ppid'])).toEqual({
      comm: readFileSync('/proc/self/comm', 'utf8').trimEnd(),
      ppid: process.ppid,
    })
  })

  test('a thread is refused, with a hint', () => {
    const tid = Number(readdirSync('/proc/self/task').at(-1))
    expect(() => processes.open(tid)).toThrow(
      expect.objectContaining({ syscall: 'pidfd_open', hint: expect.stringContaining('a thread') }),
    )
  })

  test('what is no process', async () => {
    const child = await shell('read x')
    using pidfd = child.pidfd?.dup()
    child.kill('SIGKILL')
    await child.exited
    expect(() => processes.open(child.pid ?? -1)).toThrow(
      expect.objectContaining({ code: 'ESRCH', syscall: 'pidfd_open' }),
    )
    expect(() => processes.open(pidfd ?? -1)).toThrow(
      expect.objectContaining({ code: 'ESRCH', hint: expect.stringContaining('has ended') }),
    )
    for (const [value, message] of [
      ['1', 'expected a pid, a pidfd or a handle that has one, got "1"'],
      [0, 'no pid: 0'],
      [-1, 'no pid: -1'],
      [1.5, 'no pid: 1.5'],
      [null, 'expected a pid, a pidfd or a handle that has one, got null'],
      [{ fd: -1 }, 'this fd is closed'],
      [{ fd: 0 }, 'expected a pid, a pidfd or a handle that has one'],
    ] as const)
      expect(() => processes.open(value as never)).toThrow(message)
  })
})
