// Attacks on the terminal of whoever starts a program (CVE-2017-5226, CVE-2019-10063): keys that he has not typed.
import { describe, expect, test } from '@jest/globals'
import { run, spawn, type SpawnOptions } from 'fancyproc'
import { childFd, ioctl, open } from 'fancyproc/steps'
import { script } from './support/fork.ts'
import { on } from './support/machine.ts'

const TIOCSTI = 0x5412
const TIOCLINUX = 0x541c
const key = Buffer.from('!')

/** What Node, on a terminal, reads from it while a program is run by `options`, whose steps may do harm. */
async function typed(options: string): Promise<string> {
  const text = `
    import { spawn } from 'fancyproc'
    import { childFd, dup, ioctl, open } from 'fancyproc/steps'
    process.stdin.setRawMode(true)
    let typed = ''
    process.stdin.on('data', (keys) => (typed += keys))
    const key = Buffer.from('!')
    const child = spawn('true', ${options})
    const code = await child.exited.then(() => 'ran', (error) => error.code)
    await new Promise((resolve) => setTimeout(resolve, 50))
    console.log('typed', JSON.stringify(typed), code)
    process.exit()`
  const { stdout } = await run(process.execPath, script(text), { stdio: 'pty', env: process.env })
  return /typed .*/.exec(stdout)?.[0].trim() ?? stdout
}

describe("stdio: 'pty'", () => {
  test('keys that a program makes up are its own', async () => {
    const steps = '[ioctl(childFd(0), 0x5412, key)]'
    expect(await typed(`{ stdio: 'pty', steps: ${steps} }`)).toMatch(/^typed "" /)
  })

  test('/dev/tty is no way to ours', async () => {
    const steps =
      "(() => { const tty = open('/dev/tty', 'O_RDWR'); return [tty, ioctl(tty, 0x5412, key)] })()"
    expect(await typed(`{ stdio: 'pty', steps: ${steps} }`)).toMatch(/^typed "" /)
  })
})

// Whose terminal it is shows that the attack works, where nothing is in its way.
on({ user: 'root' }).test("inherited, ours is a program's to type on: hence a pty", async () => {
  expect(await typed("{ stdio: 'inherit', steps: [ioctl(childFd(0), 0x5412, key)] }")).toBe('typed "!" ran')
})

// EIO: Linux 6.2 without dev.tty.legacy_tiocsti. EPERM: not the terminal of that session.
on({ user: 'ordinary' }).test('inherited in a session of its own, it is not', async () => {
  const options = "{ stdio: 'inherit', detached: true, steps: [ioctl(childFd(0), 0x5412, key)] }"
  expect(await typed(options)).toMatch(/^typed "" (EPERM|EIO)$/)
})

test('without a terminal there is none to be found', async () => {
  const tty = open('/dev/tty', 'O_RDWR')
  const options: SpawnOptions = { stdio: 'ignore', detached: true, steps: [tty, ioctl(tty, TIOCSTI, key)] }
  await expect(spawn('true', options).exited).rejects.toMatchObject({ code: 'ENXIO', step: 0 })
})

test('a pty is no console: TIOCLINUX means nothing to it', async () => {
  const steps = [ioctl(childFd(0), TIOCLINUX, Buffer.from([2]))]
  const child = spawn('true', { stdio: 'pty', steps })
  await expect(child.exited).rejects.toMatchObject({ code: 'ENOTTY', step: 0 })
})
