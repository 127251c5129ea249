// What decides whether the suite is green: tests that were skipped without a word, and tests that ran on no machine.
import { describe, expect, test } from '@jest/globals'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { command, type Forked, root, script } from './support/fork.ts'
import { scratch } from './support/scratch.ts'

const path = scratch()
const jest = join(dirname(createRequire(import.meta.url).resolve('jest/package.json')), 'bin/jest.js')
let count = 0

describe('a test that does not run', () => {
  function suite(text: string): Promise<Forked> {
    const directory = path(`suite${String(count++)}`)
    mkdirSync(directory)
    writeFileSync(join(directory, 'a.test.js'), text)
    const config = { transform: {}, reporters: [join(root, 'test/support/reporter.mjs')], cacheDirectory: path() }
    const options = ['--rootDir', directory, '--config', JSON.stringify(config), '--runInBand']
    return command(process.execPath, [jest, ...options], { FANCYPROC_REPORT: '', FANCYPROC_PROMISED: '' })
  } // prettier-ignore

  test('has failed, unless it said for which machine it is', async () => {
    const runs = "test('runs', () => {});"
    expect(await suite(runs)).toMatchObject({ code: 0, stderr: '' })
    expect(await suite(`${runs} test.skip('needs it [skipped: needs root]', () => {})`)).toMatchObject({
      code: 0,
    })
    const silent = await suite(`${runs} test.skip('silently', () => {})`)
    expect(silent.code).toBe(1)
    expect(silent.stderr).toContain('applies here and did not run:\n  a.test.js: silently')
  })
})

describe('the union of reports', () => {
  const env = (): NodeJS.ProcessEnv => ({ FANCYPROC_REPORTS: path('reports') })

  async function save(name: string, ran: string[], skipped: string[]): Promise<void> {
    const report = {
      ...{ name, smoke: false, passed: ran.length, failed: 0, ran },
      skipped: skipped.map((test) => ({ name: test, reason: 'needs something else' })),
    }
    const text = `import { saveReport } from './scripts/vm/report.mjs'; saveReport(${JSON.stringify(report)})`
    expect(await command(process.execPath, script(text), env())).toMatchObject({ code: 0, stderr: '' })
  }
  const union = (): Promise<Forked> =>
    command(process.execPath, ['scripts/vm/main.mjs', 'test', '--report'], env())

  test('tells of the tests that ran nowhere, and fails for them', async () => {
    expect(await union()).toMatchObject({ code: 1, stderr: expect.stringContaining('no report') as unknown })
    await save('root', ['one'], ['two', 'three'])
    await save('user', ['two'], ['one', 'three'])
    const lacking = await union()
    expect(lacking.code).toBe(1)
    expect(lacking.stdout).toMatch(/\n3 tests, 1 of them ran nowhere\n {2}three\n(.*: needs something else\n){2}$/)
    await save('user', ['two', 'three'], ['one'])
    const whole = await union()
    expect(whole.code).toBe(0)
    expect(whole.stdout).toMatch(/\na· {2}one\n·b {2}three\n·b {2}two\n\n3 tests, 0 of them ran nowhere\n$/)
  }) // prettier-ignore

  test('counts no report of other code', async () => {
    writeFileSync(path('reports', 'old.json'), JSON.stringify({ machine: 'a machine of old', pass: 'root', code: 'other', at: 0 }))
    const { code, stdout } = await union()
    expect(code).toBe(0)
    expect(stdout).toContain('-  a machine of old, as root: of other code, left out\n')
  }) // prettier-ignore
})
