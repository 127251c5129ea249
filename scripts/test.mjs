// test.mjs [--smoke] [jest's arguments]: runs the suite, or its core, as the current user and, if that is root, again as
// an ordinary one. FANCYPROC_PASS=root or user runs one of the two.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import { arch, argv, env, execPath, getuid } from 'node:process'

import { asOrdinaryUser } from './ordinary.mjs'
import { at, bin, Failure, main } from './project.mjs'
import { lacking } from './vm/promised.mjs'
import { saveReport } from './vm/report.mjs'

/** The core: how programs start and fail, their steps, namespaces and labels, and what this kernel has. */
const SMOKE = [
  'spawn',
  'clone',
  'steps-run',
  'errors',
  'thread',
  'probe',
  'namespaces',
  'labels',
  'cgroups-files',
]

/** What differs among kernels, not among processors: the other one is emulated, and slow. */
if (arch === 'x64')
  SMOKE.push('rootfs-attacks', 'transitions', 'mount-contexts', 'selinux-attributes', 'lacking')

/** And what has tests that run only there. */
const apparmor = '/sys/module/apparmor/parameters/enabled'
if (existsSync(apparmor) && readFileSync(apparmor, 'utf8').startsWith('Y'))
  SMOKE.push('apparmor', 'selinux-files', 'selinux-relabel')
if (parseInt(release()) >= 7) SMOKE.push('namespaces-list')

const smoke = argv.includes('--smoke')
const options = argv.slice(2).filter((option) => option !== '--smoke')
const core = smoke ? SMOKE.map((name) => `test/${name}.test.ts`) : []
const flags = ['--disable-warning=ExperimentalWarning', '--experimental-vm-modules']
const jest = [...flags, bin('jest'), ...options, ...core]

function asCurrentUser(directory, args) {
  const FANCYPROC_REPORT = join(directory, 'report')
  return spawnSync(execPath, args, {
    cwd: at(),
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...env, FANCYPROC_REPORT },
  })
}

/** Runs jest as one of the users, and reads what test/support/reporter.mjs counted. */
function run(name, args) {
  const directory = mkdtempSync('/tmp/fancyproc-test-')
  try {
    const separate = name === 'user' && getuid() === 0
    const { status, signal } = separate ? asOrdinaryUser(directory, args) : asCurrentUser(directory, args)
    const file = join(directory, 'report')
    const text = existsSync(file) ? readFileSync(file, 'utf8') : ''
    const report = text ? JSON.parse(text) : { passed: 0, failed: 0, failures: [], ran: [], skipped: [] }
    if (status !== 0 && report.failed === 0) {
      report.failed = 1
      const how = signal ?? `status ${status}`
      report.failures.push({ name: 'jest', message: [text ? `ended with ${how}` : `${how}, and no report`] })
    }
    return report
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Of the two runs together; `unsteady`: what failed, and passed when it was run again. */
function merge(first, second) {
  const { failures, failed } = second
  const ran = [...new Set([...first.ran, ...second.ran])]
  const failing = new Set(failures.map(({ name }) => name))
  const unsteady = first.failures.filter(({ name }) => !failing.has(name))
  return {
    ...first,
    ran,
    failures,
    failed,
    passed: ran.filter((name) => !failing.has(name)).length,
    unsteady,
  }
}

/**
 * One pass. With FANCYPROC_AGAIN=1, and no arguments for jest, the files in which something failed are run a second time, one after the other: on a
 * machine that does much else at the same time, that tells what is broken from what was hindered.
 */
function pass(name) {
  console.error(`\n── as ${name === 'root' ? 'root' : 'an ordinary user'} ──`)
  const first = run(name, jest)
  const files = [...new Set(first.failures.map(({ name }) => name.split(': ')[0]))]
  const are = files.length > 0 && files.every((file) => file.endsWith('.test.ts'))
  if (env.FANCYPROC_AGAIN !== '1' || options.length > 0 || !are) return { name, unsteady: [], ...first }
  console.error(`\n── again: ${files.join(' ')} ──`)
  return { name, ...merge(first, run(name, [...flags, bin('jest'), '--runInBand', ...files])) }
}

function listSkipped(passes) {
  const reasons = new Map()
  for (const { name, skipped } of passes) {
    for (const test of skipped) {
      const heading = `${test.reason} (as ${name})`
      reasons.set(heading, [...(reasons.get(heading) ?? []), test.name])
    }
  }
  for (const [heading, names] of reasons) console.log(`\nskipped: ${heading}\n  ${names.join('\n  ')}`)
}

/** All of them once more, shortly: of a long output only the end may be kept. */
function listFailed(passes) {
  const list = (how, tests) => {
    for (const { name, message } of tests)
      console.log(`\n${how}: ${name}\n${message.map((line) => `    ${line}`).join('\n')}`)
  }
  for (const { name: user, failures, unsteady } of passes) {
    list(`failed once, and passed when it was run again (as ${user})`, unsteady)
    list(`failed (as ${user})`, failures)
  }
}

await main(() => {
  const gone = core.filter((path) => !existsSync(at(path)))
  if (gone.length > 0) throw new Failure(`not in the checkout: ${gone.join(', ')}`)
  const missing = env.FANCYPROC_PROMISED ? lacking(JSON.parse(env.FANCYPROC_PROMISED)) : []
  if (missing.length > 0) throw new Failure(`this machine was to have ${missing.join(', ')}`)
  const possible = getuid() === 0 ? ['root', 'user'] : ['user']
  const wanted = possible.filter((name) => name === (env.FANCYPROC_PASS || name))
  if (wanted.length === 0)
    throw new Failure(`FANCYPROC_PASS=${env.FANCYPROC_PASS}: here it can be ${possible.join(' or ')}`)

  const passes = wanted.map(pass)
  if (options.length === 0) for (const report of passes) saveReport({ ...report, smoke })
  listSkipped(passes)
  listFailed(passes)
  const sum = (count) => passes.reduce((total, report) => total + count(report), 0)
  const failed = sum(({ failed }) => failed)
  console.log(
    `\n${sum(({ passed }) => passed)} passed, ${failed} failed, ${sum(({ skipped }) => skipped.length)} skipped`,
  )
  return failed > 0 ? 1 : 0
})
