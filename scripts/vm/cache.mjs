// What the machines are made from is kept, each thing in a directory named by a digest of its recipe.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { env } from 'node:process'

import { at, digest, Failure, run, which } from '../project.mjs'

export const directory =
  env.FANCYPROC_VM_CACHE || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'fancyproc-vm')

export const say = (text) => console.error(`vm: ${text}`)

export const seconds = (start) => `${((Date.now() - start) / 1000).toFixed(1)} s`

const DAY = 86_400_000

/** Removes what an older recipe made, and nobody has used for `days`. */
function expire(name, days) {
  for (const other of readdirSync(directory).filter((entry) => entry.replace(/-[^-]*$/, '') === name)) {
    const path = join(directory, other)
    const { mtimeMs } = statSync(path, { throwIfNoEntry: false }) ?? { mtimeMs: Infinity }
    if (Date.now() - mtimeMs > days * DAY) rmSync(path, { recursive: true, force: true })
  }
}

/** Runs `body` while no other process is in one of the same name. The lock belongs to the open file, and ends with us. */
function alone(name, body) {
  mkdirSync(join(directory, 'locks'), { recursive: true })
  const file = openSync(join(directory, 'locks', name), 'w')
  try {
    const { error, status } = spawnSync('flock', ['3'], { stdio: ['ignore', 'inherit', 'inherit', file] })
    if (error || status !== 0) throw new Failure(`flock: ${error?.message ?? `exit ${status}`}`)
    return body()
  } finally {
    closeSync(file)
  }
}

/** A directory for the time of `body`. */
export function scratch(body) {
  mkdirSync(directory, { recursive: true })
  const path = mkdtempSync(join(directory, 'tmp-'))
  const remove = () => rmSync(path, { recursive: true, force: true })
  try {
    const result = body(path)
    if (typeof result?.then === 'function') return result.finally(remove)
    remove()
    return result
  } catch (error) {
    remove()
    throw error
  }
}

/** A digest of an object of strings and lists, with the sources (of scripts/vm) that turn it into files. */
export const recipe = (sources, ...values) =>
  createHash('sha256')
    .update(digest(sources.map((name) => join('scripts/vm', name))))
    .update(JSON.stringify(values))
    .digest('hex')
    .slice(0, 16)

/** The directory `name-key`; `build(path)` fills it if it isn't there. It appears whole or not at all. */
export function cached(name, key, build) {
  const path = join(directory, `${name}-${key}`)
  if (!existsSync(path)) alone(name, () => existsSync(path) || make(name, path, build))
  utimesSync(path, new Date(), new Date())
  return path
}

function make(name, path, build) {
  const start = Date.now()
  say(`building ${path}`)
  scratch((temporary) => {
    const content = join(temporary, 'content')
    mkdirSync(content)
    build(content, temporary)
    renameSync(content, path)
  })
  expire(name, 7)
  // Whoever was killed left one.
  expire('tmp', 1)
  say(`built ${name} in ${seconds(start)}`)
}

/** Makes sure of programs (program → Debian package), installing their packages where we may. */
export function provide(programs) {
  const missing = () => Object.keys(programs).filter((program) => !which(program))
  if (missing().length === 0) return
  const packages = [...new Set(missing().map((program) => programs[program]))]
  const advice = `missing: ${missing().join(', ')} (on Debian: apt-get install ${packages.join(' ')})`
  if (process.getuid() !== 0 || !which('apt-get')) throw new Failure(advice)
  say(advice)
  const options = { env: { ...env, DEBIAN_FRONTEND: 'noninteractive' } }
  alone('apt', () => {
    run('apt-get', ['update', '-q'], options)
    run('apt-get', ['install', '-qy', '--no-install-recommends', ...packages], options)
  })
  if (missing().length > 0) throw new Failure(`still missing: ${missing().join(', ')}`)
}

export const guest = (...path) => at('scripts/vm/guest', ...path)
