// Descriptors that steps open, place, close and send back.
import { describe, expect, test } from '@jest/globals'
import { closeSync, openSync } from 'node:fs'
import { type Process, spawn } from 'fancyproc'
import { childFd, closeRange, dup, open, sendFd } from 'fancyproc/steps'
import { asleep, fds } from './support/proc.ts'
import { scratch } from './support/scratch.ts'

const path = scratch()

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

describe('steps and descriptors', () => {
  test('what a step opens is for later ones, and not for the program, unless it is placed', async () => {
    const file = open('/etc/passwd')
    const steps = [file, open('/etc/group'), dup(file, 7), dup(childFd(7), 5), dup(file, 1)]
    await using child = await spawn('sleep', ['1000'], { steps }).spawned
    const pipe = expect.stringMatching(/^pipe:/) as unknown as string
    expect(await placed(child)).toEqual({
      0: pipe,
      1: '/etc/passwd',
      2: pipe,
      5: '/etc/passwd',
      7: '/etc/passwd',
    })
  })

  test('one placed on the number of another does it no harm', async () => {
    // Every number that those of ours, and the helper's own, may have.
    for (let target = 0; target < 24; target++) {
      await files(2, async ([a = 0, b = 0], [first, second]) => {
        const file = open('/etc/passwd')
        const steps = [
          file,
          dup(a, target),
          sendFd('file', file),
          dup(b, target + 1),
          dup(file, target + 2),
          sendFd('b', b),
        ]
        await using child = await spawn('sleep', ['1000'], { steps }).spawned
        const found = await placed(child)
        expect([found[target], found[target + 1], found[target + 2]]).toEqual([first, second, '/etc/passwd'])
        const numbers = new Set([0, 1, 2, target, target + 1, target + 2])
        expect(Object.keys(found)).toEqual([...numbers].sort((x, y) => x - y).map(String))
        const ours = fds('self')
        expect([ours[child.fds['file']!.fd], ours[child.fds['b']!.fd]]).toEqual(['/etc/passwd', second])
      })
    }
  })

  test('dup onto itself makes it the program’s', async () => {
    const steps = [dup(childFd(1), 9, 'O_CLOEXEC'), dup(childFd(9), 9), dup(childFd(2), 2, 'O_CLOEXEC')]
    await using child = await spawn('sleep', ['1000'], { steps }).spawned
    expect(Object.keys(await placed(child))).toEqual(['0', '1', '9'])
  })

  test('close_range of all closes stdio, and nothing that the rest of the setup needs', async () => {
    const file = open('/etc/passwd')
    const steps = [file, closeRange(0), dup(file, 3), sendFd('file', file)]
    await using child = await spawn('sleep', ['1000'], { steps }).spawned
    expect(await placed(child)).toEqual({ 3: '/etc/passwd' })
    expect(fds('self')[child.fds['file']!.fd]).toBe('/etc/passwd')
  })

  test('a number that is not the child’s is EBADF, also where the helper has one there', async () => {
    for (let number = 3; number < 24; number++) {
      for (const step of [dup(childFd(number), 1), sendFd('x', childFd(number))]) {
        const error: unknown = await spawn('true', { steps: [step] }).exited.catch((error: unknown) => error)
        expect([number, error]).toMatchObject([number, { code: 'EBADF', step: 0 }])
      }
    }
  })
})

describe('sendFd', () => {
  test('sends back what was opened in the child, all before spawn', async () => {
    const names = Array.from({ length: 64 }, (_, i) => `fd ${String(i)}`)
    const passwd = open('/etc/passwd')
    const child = spawn('true', { steps: [passwd, names.map((name) => sendFd(name, passwd))] })
    await child.spawned
    expect(Object.keys(child.fds)).toEqual(names)
    expect(new Set(names.map((name) => child.fds[name]!.fd)).size).toBe(64)
    expect(names.map((name) => fds('self')[child.fds[name]!.fd])).toEqual(names.map(() => '/etc/passwd'))
    await child[Symbol.asyncDispose]()
    expect(Object.values(child.fds).every((fd) => fd.closed)).toBe(true)
  })

  test('the last of a name is the one; the others are closed', async () => {
    const [a, b] = [open('/etc/passwd'), open('/etc/group')]
    const child = await spawn('sleep', ['1000'], {
      stdio: 'ignore',
      steps: [a, b, sendFd('x', a), sendFd('x', b)],
    }).spawned
    expect(fds('self')[child.fds['x']!.fd]).toBe('/etc/group')
    expect(Object.values(fds('self'))).not.toContain('/etc/passwd')
    await child[Symbol.asyncDispose]()
  })

  test('what had been sent when the setup failed is closed', async () => {
    const file = open('/etc/passwd')
    const before = Object.keys(fds('self'))
    const child = spawn('true', { stdio: 'ignore', steps: [file, sendFd('x', file), open('/nonexistent')] })
    await expect(child.exited).rejects.toMatchObject({ code: 'ENOENT', step: 2, path: '/nonexistent' })
    expect(child.fds['x']!.closed).toBe(true)
    expect(Object.keys(fds('self'))).toEqual(before)
  })

  test("one called 'pty' that is no terminal is a descriptor like any other", async () => {
    const file = open('/etc/passwd')
    await using child = await spawn('sleep', ['1000'], { steps: [file, sendFd('pty', file)] }).spawned
    expect(child.pty).toBeUndefined()
    expect(fds('self')[child.fds['pty']!.fd]).toBe('/etc/passwd')
  })
})
