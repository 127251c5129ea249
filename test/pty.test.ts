// Pseudo-terminals: ours, and those that steps open in the sandbox's own devpts.
import { describe, expect, test } from '@jest/globals'
import { once } from 'node:events'
import { closeSync, openSync, promises as fs, readFileSync, readlinkSync } from 'node:fs'
import { ReadStream } from 'node:tty'
import { type Process, run, spawn, type SpawnOptions } from 'fancyproc'
import {
  childFd,
  makePrivate,
  mapUser,
  mkdir,
  mount,
  openpty,
  sethostname,
  windowSize,
} from 'fancyproc/steps'
import { facts, on } from './support/machine.ts'
import { asleep, fds, session, stat } from './support/proc.ts'
import { scratch } from './support/scratch.ts'
import { leaks, settled } from './support/state.ts'

const path = scratch()

const closed = (child: Process): Promise<unknown> => new Promise((resolve) => child.once('close', resolve))

/** What comes from a terminal, as it comes. */
class Screen {
  text = ''
  readonly #child: Process

  constructor(child: Process) {
    this.#child = child
    child.pty!.setEncoding('utf8').on('data', (text: string) => (this.text += text))
  }

  async shows(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this.text)
      if (found) return found
      await once(this.#child.pty!, 'data')
    }
  }
}

const numbers = (to: number): string => Array.from({ length: to }, (_, i) => `${String(i + 1)}\r\n`).join('')

describe("stdio: 'pty'", () => {
  test('0 to 2 are one terminal, which controls a session of its own', async () => {
    await using child = await spawn('sleep', ['1000'], { stdio: 'pty' }).spawned
    await asleep(child.pid)
    const found = fds(child.pid)
    expect(found[0]).toMatch(/^\/dev\/pts\/\d+$/)
    expect(found).toEqual({ 0: found[0], 1: found[0], 2: found[0] })
    expect(session(child.pid)).toBe(child.pid)
    const [, , group, , terminal, foreground] = stat(child.pid)
    expect([group, foreground]).toEqual([String(child.pid), String(child.pid)])
    expect(terminal).not.toBe('0')
    expect([child.stdin, child.stdout, child.stderr]).toEqual([null, null, null])
    expect(child.pty).toBeInstanceOf(ReadStream)
    expect(child.pty!.isTTY).toBe(true)
  })

  test('isatty, /dev/tty, and job control in it', async () => {
    const script =
      'tty; test -t 0 && test -t 1 && test -t 2 && echo all; echo there >/dev/tty; set -m && echo jobs'
    const { stdout } = await run('sh', ['-c', script], { stdio: 'pty' })
    expect(stdout).toMatch(/^\/dev\/pts\/\d+\r\nall\r\nthere\r\njobs\r\n$/)
  })

  test('echoes, edits lines, ends at Ctrl-D, interrupts at Ctrl-C', async () => {
    const cat = spawn('cat', { stdio: 'pty' })
    const screen = new Screen(cat)
    cat.pty!.write('ab\x7fc\n')
    await screen.shows(/ac\r\n$/)
    cat.pty!.write('\x04')
    expect(await cat.exited).toMatchObject({ code: 0, signal: null, reason: 'exited' })
    const other = await spawn('cat', { stdio: 'pty' }).spawned
    const shown = new Screen(other)
    other.pty!.write('x\n')
    await shown.shows(/x\r\nx\r\n/)
    other.pty!.write('\x03')
    expect(await other.exited).toMatchObject({ signal: 'SIGINT' })
  })

  test('its size, from the start and when it changes: SIGWINCH', async () => {
    const script = 'trap "stty size" WINCH; stty size; while :; do read line && exit 0; done'
    const child = spawn('sh', ['-c', script], { stdio: 'pty', pty: { columns: 123, rows: 45 } })
    const screen = new Screen(child)
    await screen.shows(/^45 123\r\n/)
    child.pty!.resize(200, 50)
    await screen.shows(/50 200\r\n/)
    child.pty!.write('\n')
    expect(await child.exited).toMatchObject({ code: 0 })
    const plain = await run('stty', ['size'], { stdio: 'pty', pty: { columns: 99 } })
    expect(plain.stdout).toBe('24 99\r\n')
  })

  test.each([
    [0, 1],
    [1, 0],
    [65536, 1],
    [1.5, 1],
    [1, NaN],
    ['80', 24],
  ])('no size: %p x %p', async (columns, rows) => {
    await using child = await spawn('sleep', ['1000'], { stdio: 'pty' }).spawned
    expect(() => {
      child.pty!.resize(columns as number, rows)
    }).toThrow(/^(columns|rows): expected 1 to 65535/)
    const pty = { columns, rows } as NonNullable<SpawnOptions['pty']>
    expect(() => spawn('true', { stdio: 'pty', pty })).toThrow(/^pty\.(columns|rows): expected 1 to 65535/)
  })

  test('all output comes before the end, which is no error, though the kernel says EIO', async () => {
    const child = spawn('seq', ['20000'], { stdio: 'pty' })
    const errors: Error[] = []
    child.pty!.on('error', (error) => errors.push(error))
    const screen = new Screen(child)
    const ended = once(child.pty!, 'end')
    await closed(child)
    await ended
    expect(screen.text).toBe(numbers(20000))
    expect(errors).toEqual([])
  })

  test('late readers get all, nobody has to read', async () => {
    // More than one read gives, and less than the terminal holds: all of it is there when that hangs up.
    const late = spawn('seq', ['1000'], { stdio: 'pty' })
    await late.exited
    const screen = new Screen(late)
    await closed(late)
    expect(screen.text).toBe(numbers(1000))
    const unread = spawn('seq', ['100'], { stdio: 'pty' })
    await closed(unread)
    expect(unread.exitCode).toBe(0)
  })

  test('a program that closes its descriptors before it exits is not hung up', async () => {
    const script = 'echo last; exec <&- >&- 2>&-; sleep 0.1; exit 3'
    const child = spawn('sh', ['-c', script], { stdio: 'pty' })
    const screen = new Screen(child)
    const ended = once(child.pty!, 'end')
    await ended
    expect(child.exitCode).toBeNull()
    await closed(child)
    expect([child.exitCode, child.signalCode, screen.text]).toEqual([3, null, 'last\r\n'])
  })

  test('destroying it hangs up the session', async () => {
    const child = await spawn('sleep', ['1000'], { stdio: 'pty' }).spawned
    child.pty!.destroy()
    expect(await child.exited).toMatchObject({ signal: 'SIGHUP' })
  })

  test('writing after the end, or to one destroyed, is no crash', async () => {
    const child = spawn('true', { stdio: 'pty' })
    const { pty } = child
    pty!.on('error', () => undefined)
    await child.exited
    pty!.write('x')
    await closed(child)
    pty!.write('x')
    pty!.resize(10, 10)
  })

  test('nothing is left of it', async () => {
    await run('true', [], { stdio: 'pty' })
    const before = leaks()
    for (let i = 0; i < 10; i++) {
      await run('true', [], { stdio: 'pty' })
      await spawn('/nonexistent', { stdio: 'pty' }).exited.catch(() => undefined)
      await spawn('true', { stdio: 'pty', signal: AbortSignal.abort() }).exited.catch(() => undefined)
    }
    expect(await settled(before)).toEqual(before)
  })
})

describe('a program that does not read its terminal', () => {
  test('does not stop the event loop, and gets all when it reads', async () => {
    // Raw, or the line discipline would throw away what is too long for a line.
    const fifo = path('go')
    expect((await run('mkfifo', [fifo])).code).toBe(0)
    const script = `stty raw -echo; echo ready; read line <${fifo}; head -c 300000 | wc -c`
    const reader = spawn('sh', ['-c', script], { stdio: 'pty' })
    const screen = new Screen(reader)
    await screen.shows(/ready/)
    let written = false
    const write = new Promise<void>((resolve) => {
      reader.pty!.write('x'.repeat(300_000), () => {
        written = true
        resolve()
      })
    })
    // Other work goes on, and the bytes stay with us.
    for (let i = 0; i < 20; i++) await run('true')
    expect(written).toBe(false)
    expect(reader.pty!.writableLength).toBe(300_000)
    await fs.writeFile(fifo, '\n')
    await screen.shows(/300000/)
    await write
    expect(await reader.exited).toMatchObject({ code: 0 })
  })

  test('what is still unwritten when it is closed goes nowhere, least of all into the next file of that number', async () => {
    const fifo = path('hold')
    expect((await run('mkfifo', [fifo])).code).toBe(0)
    const child = await spawn('sleep', ['1000'], { stdio: 'pty' }).spawned
    const { fd } = child.pty!
    // All of libuv's threads wait, so that the write has to.
    const size = Number(process.env['UV_THREADPOOL_SIZE'] ?? 4)
    const opened = Array.from({ length: size }, () => fs.open(fifo, 'r'))
    child.pty!.write('secret')
    child.pty!.destroy()
    const others: number[] = []
    const gone = (): boolean => !readable(fd)
    for (let i = 0; i < 100 && !gone(); i++) await new Promise(setImmediate)
    do others.push(openSync(path(`other${String(others.length)}`), 'w+'))
    while (!others.includes(fd) && others.length < 64)
    const writer = openSync(fifo, 'r+')
    for (const file of await Promise.all(opened)) await file.close()
    closeSync(writer)
    await child.exited
    expect(others.map((_, i) => readFileSync(path(`other${String(i)}`), 'utf8')).join('')).toBe('')
    others.forEach(closeSync)
  })
})

function readable(fd: number): boolean {
  try {
    readlinkSync(`/proc/self/fd/${String(fd)}`)
    return true
  } catch {
    return false
  }
}

describe("a pty of the sandbox's own devpts", () => {
  const user: SpawnOptions =
    facts.user === 'root'
      ? { namespaces: ['mnt', 'uts'] }
      : { namespaces: ['user', 'mnt', 'uts'], steps: mapUser() }
  const rights = facts.user === 'root' ? {} : { userns: true }

  on(rights).test('is one inside: tty finds it, and its master is here', async () => {
    const child = spawn('sh', ['-c', 'tty; ls -1 /dev/pts; stty size; read line; echo "got $line"; exit 4'], {
      ...user,
      stdio: 'pty',
      steps: [
        user.steps ?? [],
        makePrivate('/', { recursive: true }),
        mount({
          source: 'devpts',
          target: '/dev/pts',
          type: 'devpts',
          data: 'newinstance,ptmxmode=0666,mode=620',
        }),
        sethostname('inside'),
        openpty(),
        windowSize(childFd(0), 77, 33),
      ],
    })
    expect(child.pty).toBeUndefined()
    await once(child, 'spawn')
    const screen = new Screen(child)
    await screen.shows(/33 77\r\n/)
    child.pty!.write('x\n')
    expect(await child.exited).toMatchObject({ code: 4 })
    await closed(child)
    expect(screen.text).toBe('/dev/pts/0\r\n0\r\nptmx\r\n33 77\r\nx\r\ngot x\r\n')
    expect(child.fds).toEqual({})
  })

  on(rights).test('a setup that fails after it closes it', async () => {
    await run('true', [], { stdio: 'pty' })
    const before = leaks()
    const steps = [user.steps ?? [], openpty('/dev/ptmx'), mkdir('/proc/none')]
    await expect(spawn('true', { ...user, stdio: 'pty', steps }).exited).rejects.toMatchObject({
      syscall: 'mkdirat',
    })
    expect(await settled(before)).toEqual(before)
  })
})
