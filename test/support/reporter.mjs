// Counts for scripts/test.mjs, and its rule: a test is skipped only for a reason that `on` gave.
import { appendFileSync } from 'node:fs'
import { relative } from 'node:path'

const REASON = /\[skipped: ([^\]]*)\]$/

export default class Reporter {
  #pattern
  #root
  #error

  constructor({ testNamePattern, rootDir }) {
    this.#pattern = testNamePattern ? new RegExp(testNamePattern, 'i') : undefined
    this.#root = rootDir
  }

  onRunComplete(_contexts, { testResults, numPassedTests, numFailedTests, numTotalTestSuites }) {
    const ran = []
    const skipped = []
    const silent = []
    for (const { testResults: tests, testFilePath } of testResults) {
      const file = relative(this.#root, testFilePath)
      for (const { title, ancestorTitles, status } of tests) {
        const names = [...ancestorTitles, title]
        const reason = names.map((name) => REASON.exec(name)?.[1]).find(Boolean)
        const name = `${file}: ${names.map((part) => part.replace(REASON, '').trim()).join(' › ')}`
        if (status === 'passed' || status === 'failed') {
          ran.push(name)
          continue
        }
        if (this.#pattern && !this.#pattern.test(names.join(' '))) continue
        if (reason) skipped.push({ name, reason })
        else silent.push(name)
      }
    }
    const broken = testResults.filter(({ testExecError }) => testExecError).length
    const failed = numFailedTests + broken + silent.length + (numTotalTestSuites === 0 ? 1 : 0)
    if (silent.length > 0) {
      this.#error = new Error(`applies here and did not run:\n  ${silent.join('\n  ')}`)
      console.error(`\n${this.#error.message}`)
    }
    const { FANCYPROC_REPORT } = process.env
    if (FANCYPROC_REPORT) {
      appendFileSync(
        FANCYPROC_REPORT,
        `${JSON.stringify({ passed: numPassedTests, failed, ran, skipped })}\n`,
      )
    }
  }

  getLastError() {
    return this.#error
  }
}
