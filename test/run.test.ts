// run(): output collected, within bounds.
import { describe, expect, test } from '@jest/globals'
import { run } from 'fancyproc'
import { chdir } from 'fancyproc/steps'

describe('run', () => {
  test('resolves with what was printed and how it ended, whatever the exit code', async () => {
    const { usage, ...rest } = await run('sh', ['-c', 'echo out; echo err >&2; exit 3'])
    expect(rest).toEqual({ stdout: 'out\n', stderr: 'err\n', code: 3, signal: null, reason: 'exited' })
    expect(usage).toBeDefined()
  })

  test('gives input, and an end of it; without one there is none', async () => {
    expect((await run('cat', [], { input: 'é\n' })).stdout).toBe('é\n')
    expect((await run('cat', [], { input: Uint8Array.of(0xff, 0), encoding: 'buffer' })).stdout).toEqual(
      Buffer.of(0xff, 0),
    )
    expect((await run('cat', [], { input: '' })).stdout).toBe('')
    expect((await run('cat')).stdout).toBe('')
    expect((await run('readlink', ['/proc/self/fd/0'])).stdout).toBe('/dev/null\n')
  })

  test('much input to a program that does not read it is no error', async () => {
    expect(await run('true', [], { input: 'x'.repeat(1 << 22) })).toMatchObject({ code: 0 })
  })

  test('much of both, through pipes that are smaller', async () => {
    const input = Buffer.alloc(1 << 20, 'abcdefghij\n')
    const { stdout } = await run('cat', [], { input, encoding: 'buffer' })
    expect(stdout.equals(input)).toBe(true)
  })

  test('a character that is cut between two reads stays whole', async () => {
    const text = 'é'.repeat(100_000)
    expect((await run('sh', ['-c', 'printf x; cat'], { input: text })).stdout).toBe(`x${text}`)
  })

  test('kills above maxBuffer, of either', async () => {
    const error = { name: 'RangeError', code: 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER' }
    await expect(run('yes')).rejects.toMatchObject({
      ...error,
      message: expect.stringMatching(/^stdout: /) as unknown,
    })
    await expect(run('sh', ['-c', 'yes >&2'], { maxBuffer: 10 })).rejects.toMatchObject(error)
    await expect(run('sh', ['-c', 'printf 12345678901'], { maxBuffer: 10 })).rejects.toMatchObject(error)
    expect(await run('sh', ['-c', 'printf 1234567890'], { maxBuffer: 10 })).toMatchObject({
      stdout: '1234567890',
    })
    expect(await run('true', [], { maxBuffer: 0 })).toMatchObject({ stdout: '' })
  })

  test('rejects when the setup fails', async () => {
    const steps = [chdir('/nonexistent')]
    await expect(run('true', [], { steps, input: 'x' })).rejects.toMatchObject({ syscall: 'chdir', step: 0 })
  })

  test('collects what comes from a pty', async () => {
    expect(await run('sh', ['-c', 'tty; echo err >&2; exit 2'], { stdio: 'pty' })).toMatchObject({
      stdout: expect.stringMatching(/^\/dev\/pts\/\d+\r\nerr\r\n$/) as unknown,
      stderr: '',
      code: 2,
    })
  })

  test('other encodings', async () => {
    expect((await run('printf', ['é'], { encoding: 'hex' })).stdout).toBe('c3a9')
    expect((await run('printf', ['\\351'], { encoding: 'latin1' })).stdout).toBe('é')
  })

  test.each([
    [{ encoding: 'utf-9' }, /^encoding: /],
    [{ maxBuffer: -1 }, /^maxBuffer: /],
    [{ maxBuffer: '1' }, /^maxBuffer: /],
    [{ maxBuffer: NaN }, /^maxBuffer: /],
    [{ input: 7 }, /^input: /],
    [{ input: 'x', stdio: 'ignore' }, /^input: /],
    [{ input: 'x', stdio: 'pty' }, /^input: /],
    [{ inputs: 'x' }, /^options\.inputs: no such option/],
    [{ shell: true }, /^options\.shell: .*sh.*-c/],
  ])('bad input: %j', async (options, message) => {
    await expect(run('true', [], options as never)).rejects.toThrow(message)
  })
})
