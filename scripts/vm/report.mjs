// Which test ran on which machine: every whole run of the suite leaves a report for each pass, and here is their union.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { arch, release } from 'node:os'
import { join } from 'node:path'
import { env } from 'node:process'

import { at, Failure } from '../project.mjs'

const reports = env.FANCYPROC_REPORTS || at('.vm/reports')

function machine() {
  const name = env.FANCYPROC_MACHINE ?? `here, Linux ${release()} ${arch()}`
  return env.FANCYPROC_SANITIZER === '1' ? `${name}, with sanitizers` : name
}

/** `pass`: what scripts/test.mjs has of one. */
export function saveReport({ name, passed, failed, ran, skipped }) {
  const report = { machine: machine(), pass: name, at: Date.now(), passed, failed, ran, skipped }
  mkdirSync(reports, { recursive: true })
  const file = `${report.machine}, as ${name}.json`.replace(/[ ,]+/g, '-')
  writeFileSync(join(reports, file), JSON.stringify(report))
}

/** Takes over the reports that a machine made. */
export function collectReports(out) {
  const made = join(out, 'reports')
  if (existsSync(made)) cpSync(made, reports, { recursive: true })
}

export function printUnion() {
  const all = (existsSync(reports) ? readdirSync(reports).sort() : []).map((name) =>
    JSON.parse(readFileSync(join(reports, name), 'utf8')),
  )
  if (all.length === 0) throw new Failure('no reports: run npm test, npm run test:vm')

  const letter = (index) => String.fromCharCode(97 + index)
  all.forEach(({ machine, pass, at, passed, failed, skipped }, index) => {
    const counts = `${passed} passed, ${failed} failed, ${skipped.length} skipped`
    const when = new Date(at).toISOString().slice(0, 16)
    console.log(`${letter(index)}  ${machine}, as ${pass}: ${counts}, ${when}`)
  })

  // Older reports may name tests that are gone.
  const newest = all.reduce((a, b) => (a.at > b.at ? a : b))
  const tests = [...newest.ran, ...newest.skipped.map(({ name }) => name)].sort()
  const where = (test) => all.map(({ ran }, index) => (ran.includes(test) ? letter(index) : '·')).join('')
  console.log('')
  for (const test of tests) console.log(`${where(test)}  ${test}`)

  const nowhere = tests.filter((test) => !all.some(({ ran }) => ran.includes(test)))
  console.log(`\n${tests.length} tests, ${nowhere.length} of them ran nowhere`)
  for (const test of nowhere) {
    console.log(`  ${test}`)
    for (const { machine, pass, skipped } of all) {
      const reason = skipped.find(({ name }) => name === test)?.reason
      if (reason) console.log(`    ${machine}, as ${pass}: ${reason}`)
    }
  }
  return nowhere.length > 0 ? 1 : 0
}
