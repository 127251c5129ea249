// Descriptors of the child, and our ends of them.
import { describe, expect, test } from '@jest/globals'
import { spawn as spawnNode } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  createReadStream,
  createWriteStream,
  openSync,
  promises as fs,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import type { Readable } from 'node:stream'
import { Fd, run, spawn, type Process, type StdioEntry } from 'fancyproc'
import { chdir, dup, mkdir, setns } from 'fancyproc/steps'
import { root, script } from './support/fork.ts'
import { scaled } from './support/machine.ts'
import { asleep, fds } from './support/proc.ts'
import { scratch } from './support/scratch.ts'
import { leaks, settled } from './support/state.ts'

const path = scratch()

async function text(stream: Readable | null): Promise<string> {
  let all = ''
  for await (const chunk of stream!.setEncoding('utf8') as AsyncIterable<string>) all += chunk
  return all
}

const closed = (child: Process): Promise<unknown> => new Promise((resolve) => child.once('close', resolve))

/** Files, and descriptors of them. */
async function files<T>(count: number, use: (numbers: number[], names: string[]) => Promise<T>): Promise<T> {
  const names = Array.from({ length: count }, (_, i) => path(`file${String(i)}`))
  const numbers = names.map((name) => openSync(name, 'a+'))
  try {
    return await use(numbers, names)
  } finally {
    numbers.forEach(closeSync)
  }
}

async function placed(child: Process): Promise<Record<number, string>> {
  await asleep(child.pid)
  return fds(child.pid)
}

describe('pipes', () => {
  test('carry what is written, both ways', async () => {
    const child = spawn('sh', ['-c', 'cat; echo err >&2'])
    child.stdin!.end('in\n')
    expect(await Promise.all([text(child.stdout), text(child.stderr)])).toEqual(['in\n', 'err\n'])
    expect([child.stdin, child.stdout, child.stderr]).toEqual(child.stdio)
  })

  test('one as /dev/stdin and /dev/stdout', async () => {
    expect((await run('sh', ['-c', 'cat /dev/stdin > /dev/stdout'], { input: 'x' })).stdout).toBe('x')
  })

  test('the ends of the child block, though ours do not', async () => {
    const child = await spawn('sleep', ['1000'], { stdio: ['pipe', 'pipe', 'pipe', 'pipe'] }).spawned
    for (const fd of [0, 1, 2, 3]) {
      const info = readFileSync(`/proc/${String(child.pid)}/fdinfo/${String(fd)}`, 'utf8')
      expect(parseInt(/^flags:\s*(\d+)/m.exec(info)![1]!, 8) & 0o4000).toBe(0)
    }
    await child[Symbol.asyncDispose]()
  })

  test('output is there after the end, for who reads late', async () => {
    const child = spawn('head', ['-c', '60000', '/dev/zero'], { stdio: ['ignore', 'pipe', 'ignore'] })
    await child.exited
    expect((await text(child.stdout)).length).toBe(60000)
  })

  test('output that nobody wants keeps no process from closing', async () => {
    const child = spawn('sh', ['-c', 'head -c 60000 /dev/zero; head -c 60000 /dev/zero >&2'])
    await closed(child)
    expect(child.exitCode).toBe(0)
  })

  test('of paused output nothing is lost; it closes when that has been read', async () => {
    const child = spawn('head', ['-c', '60000', '/dev/zero'])
    child.stdout!.pause()
    let done = false
    const end = closed(child).then(() => (done = true))
    await child.exited
    await new Promise(setImmediate)
    await new Promise(setImmediate)
    expect(done).toBe(false)
    expect((await text(child.stdout)).length).toBe(60000)
    await end
  })

  test('writing to one who has closed its end is EPIPE', async () => {
    await using child = spawn('sh', ['-c', 'exec <&-; echo closed; exec sleep 1000'])
    await once(child.stdout!, 'data')
    child.stdin!.write('x'.repeat(1 << 20))
    const [error] = (await once(child.stdin!, 'error')) as [NodeJS.ErrnoException]
    expect(error.code).toBe('EPIPE')
  })

  test('the program gets EOF when the stream ends, SIGPIPE when it is destroyed', async () => {
    const reader = spawn('cat')
    reader.stdin!.end()
    expect(await reader.exited).toMatchObject({ code: 0 })
    const writer = await spawn('yes').spawned
    writer.stdout!.destroy()
    expect(await writer.exited).toMatchObject({ signal: 'SIGPIPE' })
  })

  test('a sibling that lives longer does not hold them open', async () => {
    const children = Array.from({ length: scaled(20) }, () => spawn('cat'))
    for (const child of children) {
      child.stdin!.end()
      await child.exited
    }
  })
})

describe('from 3 on', () => {
  test('a pipe is a duplex socket', async () => {
    const child = spawn('sh', ['-c', 'read line <&3; echo "got $line" >&3'], {
      stdio: ['ignore', 'ignore', 'inherit', 'pipe'],
    })
    child.stdio[3]!.write('it\n')
    expect(await text(child.stdio[3]!)).toBe('got it\n')
  })

  test('any number of them; what is ignored is not open, as with Node', async () => {
    const stdio: StdioEntry[] = Array.from({ length: 40 }, (_, i) =>
      i % 3 === 1 && i > 2 ? 'ignore' : 'pipe',
    )
    await using child = await spawn('sleep', ['1000'], { stdio }).spawned
    const expected = stdio.flatMap((entry, i) => (entry === 'pipe' ? [String(i)] : []))
    expect(Object.keys(await placed(child))).toEqual(expected)
    expect(child.stdio.flatMap((stream, i) => (stream ? [String(i)] : []))).toEqual(expected)
  })
})

describe('descriptors of ours', () => {
  test('numbers, Fds, file handles, streams, inherited ones', async () => {
    const name = path('input')
    writeFileSync(name, 'text')
    const number = openSync(name, 'r')
    const handle = await fs.open(name)
    const fd = new Fd(openSync(name, 'r'))
    const stream = createReadStream(name)
    const output = createWriteStream(path('output'))
    await Promise.all([once(stream, 'open'), once(output, 'open')])
    const stdio = [number, output, 'inherit', handle, fd, stream, null, undefined, 'inherit'] as StdioEntry[]
    stdio[8] = 2
    await using child = await spawn('sleep', ['1000'], { stdio }).spawned
    const error = fds('self')[2]
    expect(await placed(child)).toEqual({
      0: name,
      1: path('output'),
      2: error,
      3: name,
      4: name,
      5: name,
      8: error,
    })
    expect(child.stdio).toEqual(stdio.map(() => null))
    closeSync(number)
    await handle.close()
    fd.close()
    stream.destroy()
    output.destroy()
  })

  test('may be closed as soon as spawn() has returned', async () => {
    const name = path('closed')
    writeFileSync(name, 'still there')
    const number = openSync(name, 'r')
    const child = spawn('cat', { stdio: [number, 'pipe', 'ignore'] })
    closeSync(number)
    // One of these may get its number.
    const others = Array.from({ length: 64 }, () => openSync('/dev/null', 'r'))
    expect(await text(child.stdout)).toBe('still there')
    others.forEach(closeSync)
  })

  test('one at several numbers, all of them at one another’s', async () => {
    await files(3, async (numbers, names) => {
      const [a = 0, b = 0, c = 0] = numbers
      await using child = await spawn('sleep', ['1000'], { stdio: [c, a, b, c, a, a] }).spawned
      const [first, second, third] = names
      expect(await placed(child)).toEqual({ 0: third, 1: first, 2: second, 3: third, 4: first, 5: first })
    })
  })

  /** In a Node whose descriptors 0 to 4 are five files: sources and targets are the same numbers. */
  test('every permutation of 0 to 4, and some that repeat', async () => {
    const text = `
      import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
      import { basename } from 'node:path'
      import { spawn } from 'fancyproc'
      const [output, step] = process.argv.slice(1)
      const results = []
      for (let n = 0; n < 5 ** 5; n++) {
        const stdio = n.toString(5).padStart(5, '0').split('').map(Number)
        if (new Set(stdio).size < 5 && n % step !== 0) continue
        const child = await spawn('sleep', ['1000'], { stdio }).spawned
        while (!readFileSync('/proc/' + child.pid + '/stat', 'latin1').includes(' S ')) await new Promise(setImmediate)
        const path = '/proc/' + child.pid + '/fd/'
        const found = readdirSync(path).map((fd) => fd + '=' + basename(readlinkSync(path + fd)))
        results.push([stdio.join(''), found.join(' ')])
        await child[Symbol.asyncDispose]()
      }
      writeFileSync(output, JSON.stringify(results))`
    const results = path('results')
    await files(5, async (numbers) => {
      const node = spawnNode(
        process.execPath,
        [...script(text), results, String(31 / Math.min(1, scaled(100) / 100))],
        {
          cwd: root,
          stdio: numbers,
        },
      )
      expect(await once(node, 'exit')).toEqual([0, null])
    })
    const rows = JSON.parse(readFileSync(results, 'utf8')) as [string, string][]
    expect(rows.length).toBeGreaterThanOrEqual(120)
    for (const [stdio, found] of rows) {
      expect([stdio, found]).toEqual([
        stdio,
        Array.from(stdio, (source, i) => `${String(i)}=file${source}`).join(' '),
      ])
    }
  })

  test('pipes, files and holes, mixed', async () => {
    await files(2, async ([a = 0, b = 0], [first, second]) => {
      await using child = await spawn('sleep', ['1000'], {
        stdio: [b, 'pipe', 'ignore', a, 'ignore', 'pipe', a],
      }).spawned
      const pipe = expect.stringMatching(/^pipe:/) as unknown as string
      const socket = expect.stringMatching(/^socket:/) as unknown as string
      expect(await placed(child)).toEqual({
        0: second,
        1: pipe,
        2: '/dev/null',
        3: first,
        5: socket,
        6: first,
      })
    })
  })
})

describe('bad ones', () => {
  const wrong =
    (stdio: unknown): (() => unknown) =>
    () =>
      spawn('true', { stdio: stdio as StdioEntry[] })

  test('a closed one is named, and nothing is left of the others', async () => {
    await run('true')
    const number = openSync('/dev/null', 'r')
    closeSync(number)
    const before = leaks()
    expect(wrong(['pipe', 'pipe', 'pipe', 'pipe', number])).toThrow(
      new TypeError(`stdio[4]: fd ${String(number)} is not open`),
    )
    for (const steps of [
      [chdir('/'), dup(number, 5)],
      [setns(number)],
      [mkdir('x', 0o777, { dirfd: number })],
    ]) {
      expect(() => spawn('true', { steps })).toThrow(
        `steps[${String(steps.length - 1)}]: fd ${String(number)} is not open`,
      )
    }
    expect(wrong([1000000])).toThrow(/^stdio\[0\]: fd 1000000 is not open/)
    expect(wrong(['pty'])).toThrow(/^stdio\[0\]: /)
    const gone = new Fd(openSync('/dev/null', 'r'))
    gone.close()
    expect(wrong(['pipe', gone])).toThrow(/^stdio\[1\]: this fd is closed/)
    const stream = createReadStream('/dev/null', { autoClose: true })
    await once(stream.resume(), 'close')
    expect(wrong(['pipe', stream])).toThrow(/^stdio\[1\]: /)
    expect(await settled(before)).toEqual(before)
  })

  test.each([
    [['pipes'], 0],
    [[-1], 0],
    [['pipe', 1.5], 1],
    [['pipe', NaN], 1],
    [['pipe', 2 ** 31], 1],
    [[true], 0],
    [['pipe', 'pipe', 'pipe', 'overlapped'], 3],
    [['pipe', 'pipe', 'pipe', 'ipc'], 3],
    [['pipe', {}], 1],
    [['pipe', { fd: '1' }], 1],
  ])('%j', (stdio, at) => {
    expect(wrong(stdio)).toThrow(TypeError)
    expect(wrong(stdio)).toThrow(new RegExp(`^stdio\\[${String(at)}\\]: `))
  })

  test.each([['pipes'], [7], [{}], [true], ['']])('stdio: %j', (stdio) => {
    expect(wrong(stdio)).toThrow(/^stdio: expected/)
  })

  test('more than there may be', () => {
    expect(wrong(Array.from({ length: 513 }, () => 'pipe'))).toThrow(RangeError)
  })
})
