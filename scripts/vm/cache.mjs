// What the machines are made from is kept, each thing in a directory named by a digest of its recipe.
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
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

/** Removes what an older recipe made, and nobody has used for a week. */
function expire(name) {
  for (const other of readdirSync(directory).filter((entry) => entry.replace(/-[^-]*$/, '') === name)) {
    const path = join(directory, other)
    if (Date.now() - statSync(path).mtimeMs > 7 * 86_400_000) rmSync(path, { recursive: true, force: true })
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
  if (existsSync(path)) {
    utimesSync(path, new Date(), new Date())
    return path
  }
  const start = Date.now()
  say(`building ${path}`)
  scratch((temporary) => {
    const content = join(temporary, 'content')
    mkdirSync(content)
    build(content, temporary)
    if (!existsSync(path)) renameSync(content, path)
  })
  expire(name)
  say(`built ${name} in ${seconds(start)}`)
  return path
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
  run('apt-get', ['update', '-q'], options)
  run('apt-get', ['install', '-qy', '--no-install-recommends', ...packages], options)
  if (missing().length > 0) throw new Failure(`still missing: ${missing().join(', ')}`)
}

export const guest = (...path) => at('scripts/vm/guest', ...path)
