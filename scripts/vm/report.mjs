// Which test ran on which machine: every run of the suite or its core leaves a report for each pass; here is their union.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { arch, release } from 'node:os'
import { join } from 'node:path'
import { env } from 'node:process'

import { at, digest, Failure } from '../project.mjs'

const reports = env.FANCYPROC_REPORTS || at('.vm/reports')

function machine() {
  const name = env.FANCYPROC_MACHINE ?? `here, Linux ${release()} ${arch()}`
  return env.FANCYPROC_SANITIZER === '1' ? `${name}, with sanitizers` : name
}

const nameOf = ({ machine, pass, smoke }) => `${machine}, as ${pass}${smoke ? ', smoke' : ''}`

/** What a report is about: of another state of these it says nothing. */
const code = () => digest(['lib', 'native', 'test', 'examples'])

/** `pass`: what scripts/test.mjs has of one. */
export function saveReport({ name, smoke, passed, failed, ran, skipped }) {
  const report = {
    ...{ machine: machine(), code: code(), pass: name, smoke, at: Date.now() },
    ...{ passed, failed, ran, skipped },
  }
  mkdirSync(reports, { recursive: true })
  writeFileSync(join(reports, `${nameOf(report).replace(/[ ,]+/g, '-')}.json`), JSON.stringify(report))
}

/** Takes over the reports that a machine made. */
export function collectReports(out) {
  const made = join(out, 'reports')
  if (existsSync(made)) cpSync(made, reports, { recursive: true })
}

/** `brief`: only the machines, and the tests that ran on none of them. */
export function printUnion({ brief = false } = {}) {
  const found = (existsSync(reports) ? readdirSync(reports).sort() : []).map((name) =>
    JSON.parse(readFileSync(join(reports, name), 'utf8')),
  )
  const ours = code()
  const [all, others] = [true, false].map((same) => found.filter(({ code }) => (code === ours) === same))
  for (const report of others) console.log(`-  ${nameOf(report)}: of other code, left out`)
  if (all.length === 0) throw new Failure('no report of this code: run npm test, npm run test:vm')

  const letter = (index) => String.fromCharCode(97 + index)
  all.forEach((report, index) => {
    const counts = `${report.passed} passed, ${report.failed} failed, ${report.skipped.length} skipped`
    const when = new Date(report.at).toISOString().slice(0, 16)
    console.log(`${letter(index)}  ${nameOf(report)}: ${counts}, ${when}`)
  })

  // A smoke names only some tests, and older reports may name tests that are gone.
  const whole = all.filter(({ smoke }) => !smoke)
  if (whole.length === 0) throw new Failure('no report of a whole run')
  const newest = whole.reduce((a, b) => (a.at > b.at ? a : b))
  const tests = [...newest.ran, ...newest.skipped.map(({ name }) => name)].sort()
  const where = (test) => all.map(({ ran }, index) => (ran.includes(test) ? letter(index) : '·')).join('')
  if (!brief) console.log(`\n${tests.map((test) => `${where(test)}  ${test}`).join('\n')}`)

  const nowhere = tests.filter((test) => !all.some(({ ran }) => ran.includes(test)))
  console.log(`\n${tests.length} tests, ${nowhere.length} of them ran nowhere`)
  for (const test of nowhere) {
    console.log(`  ${test}`)
    for (const report of all) {
      const reason = report.skipped.find(({ name }) => name === test)?.reason
      if (reason) console.log(`    ${nameOf(report)}: ${reason}`)
    }
  }
  return nowhere.length > 0 ? 1 : 0
}
