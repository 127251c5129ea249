// setup.mjs [--test]: installs and builds what is missing or out of date, before `npm start` and `npm test`.
// Built-in modules only: it runs before there are others.
import { existsSync, readFileSync } from 'node:fs'
import { argv } from 'node:process'

import { build, parts, stale } from './build.mjs'
import { at, Failure, lock, main, run, which } from './project.mjs'

// Program → Debian package.
const tools = {
  build: { python3: 'python3', make: 'make', cc: 'gcc', 'g++': 'g++' },
  start: { ps: 'procps', top: 'procps' },
  test: { strace: 'strace', newuidmap: 'uidmap', setpriv: 'util-linux', unshare: 'util-linux' },
}

const installs = process.getuid() === 0 && which('apt-get') !== undefined
const say = (text) => console.error(`setup: ${text}`)

/** Whether node_modules holds what package-lock.json says; npm leaves a lock file of its own there. */
function installed() {
  try {
    const [wanted, present] = ['package-lock.json', 'node_modules/.package-lock.json'].map(
      (path) => JSON.parse(readFileSync(at(path), 'utf8')).packages,
    )
    return Object.entries(wanted).every(
      ([path, { version, optional, devOptional }]) =>
        path === '' || (present[path] ? present[path].version === version : optional || devOptional),
    )
  } catch {
    return false
  }
}

/** Debian packages of the programs that are missing: installed where we may, else told. */
function provide(programs, { required }) {
  const missing = Object.entries(programs).filter(([program]) => !which(program))
  if (missing.length === 0) return
  const names = missing.map(([program]) => program).join(', ')
  const packages = [...new Set(missing.map(([, name]) => name))]
  if (installs) {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    say(`missing: ${names}; apt-get update && apt-get install ${packages.join(' ')}`)
    try {
      run('apt-get', ['update', '-q'], { env })
      run('apt-get', ['install', '-qy', '--no-install-recommends', ...packages], { env })
      return
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      say(error.message)
    }
  }
  const advice = `missing: ${names} (on Debian: apt-get install ${packages.join(' ')})`
  if (required) throw new Failure(advice)
  say(`${advice}; what needs them is left out`)
}

await main(() => {
  const testing = argv.includes('--test')
  const wanted = { ...tools.start, ...(testing ? tools.test : {}) }
  const lacking = Object.keys(wanted).some((program) => !which(program))
  const outdated = !installed() || Object.values(parts).some(stale)
  if (outdated || (lacking && installs)) lock()

  provide(wanted, { required: false })
  if (!installed()) {
    say(`${existsSync(at('node_modules')) ? 'package-lock.json has changed' : 'no node_modules'}: npm ci`)
    run('npm', ['ci', '--include=dev', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'])
  }
  for (const [name, part] of Object.entries(parts)) {
    if (!stale(part)) continue
    if (name === 'native') provide(tools.build, { required: true })
    say(`building ${part.output}`)
    build(part)
  }
})
