// Counts for scripts/test.mjs, and its rule: a test is skipped only for a reason that `on` gave.
import { appendFileSync } from 'node:fs'
import { relative } from 'node:path'

const REASON = /\[skipped: ([^\]]*)\]$/

/** What a failure says, and where in our files: a few lines, for the list at the end. */
function digest(text = '') {
  // eslint-disable-next-line no-control-regex
  const lines = text.replace(/\x1b\[[\d;]*m/g, '').split('\n')
  const frame = /^\s+at /
  const said = lines.filter((line) => line.trim() !== '' && !frame.test(line)).slice(0, 12)
  const place = lines.find((line) => frame.test(line) && /^(?!.*node_modules).*\/(test|lib)\//.test(line))
  return [...said, ...(place ? [place.trim()] : [])].map((line) => line.slice(0, 200))
}

export default class Reporter {
  #pattern
  #root
  #error
  #began = false

  constructor({ testNamePattern, rootDir }) {
    this.#pattern = testNamePattern ? new RegExp(testNamePattern, 'i') : undefined
    this.#root = rootDir
  }

  /** scripts/vm/boot.mjs tells how long the machine took until then. */
  onTestCaseStart() {
    if (process.env.FANCYPROC_PROMISED && !this.#began) console.error('the first test')
    this.#began = true
  }

  onRunComplete(_contexts, { testResults, numPassedTests, numFailedTests, numTotalTestSuites }) {
    const ran = []
    const skipped = []
    const silent = []
    const failures = []
    for (const { testResults: tests, testFilePath, testExecError } of testResults) {
      const file = relative(this.#root, testFilePath)
      if (testExecError)
        failures.push({ name: file, message: digest(testExecError.stack ?? testExecError.message) })
      for (const { title, ancestorTitles, status, failureMessages } of tests) {
        const names = [...ancestorTitles, title]
        const reason = names.map((name) => REASON.exec(name)?.[1]).find(Boolean)
        const name = `${file}: ${names.map((part) => part.replace(REASON, '').trim()).join(' › ')}`
        if (status === 'passed' || status === 'failed') {
          ran.push(name)
          if (status === 'failed') failures.push({ name, message: digest(failureMessages[0]) })
          continue
        }
        if (this.#pattern && !this.#pattern.test(names.join(' '))) continue
        if (reason) skipped.push({ name, reason })
        else silent.push(name)
      }
    }
    const broken = testResults.filter(({ testExecError }) => testExecError).length
    const failed = numFailedTests + broken + silent.length + (numTotalTestSuites === 0 ? 1 : 0)
    if (numTotalTestSuites === 0) failures.push({ name: 'jest', message: ['no test file is meant'] })
    failures.push(...silent.map((name) => ({ name, message: ['applies here and did not run'] })))
    if (silent.length > 0) {
      this.#error = new Error(`applies here and did not run:\n  ${silent.join('\n  ')}`)
      console.error(`\n${this.#error.message}`)
    }
    const { FANCYPROC_REPORT } = process.env
    if (FANCYPROC_REPORT) {
      appendFileSync(
        FANCYPROC_REPORT,
        `${JSON.stringify({ passed: numPassedTests, failed, failures, ran, skipped })}\n`,
      )
    }
  }

  getLastError() {
    return this.#error
  }
}
