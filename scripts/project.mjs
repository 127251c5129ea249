// What the other scripts share: the checkout's root, programs to run, and what is out of date.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))
export const at = (...path) => join(root, ...path)

const require = createRequire(import.meta.url)

/** A dependency's program, as `node` runs it: no shell, no npx. */
export function bin(name, program = name) {
  const manifest = require.resolve(`${name}/package.json`)
  const { bin } = JSON.parse(readFileSync(manifest, 'utf8'))
  return join(dirname(manifest), typeof bin === 'string' ? bin : bin[program])
}

/** Runs a command in the checkout, its output on our stderr; throws if it fails. */
export function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2], ...options })
  if (result.error) throw new Failure(`${command}: ${result.error.message}`)
  if (result.status !== 0)
    throw new Failure(`${[command, ...args].join(' ')}: ${result.signal ?? `exit ${result.status}`}`)
}

/** A failure that explains itself: printed without a stack. */
export class Failure extends Error {}

export async function main(body) {
  try {
    process.exitCode = (await body()) ?? 0
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    console.error(`fancyproc: ${error.message}`)
    process.exitCode = 1
  }
}

/** Where a program is on PATH; administrators' directories count, they are not on everyone's. */
export function which(program) {
  for (const directory of [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']) {
    const file = join(directory, program)
    try {
      accessSync(file, constants.X_OK)
      return file
    } catch {
      continue
    }
  }
  return undefined
}

/** Runs this script again, alone in the checkout; flock's lock ends with its holder, however that ends. */
export function lock() {
  if (process.env.FANCYPROC_LOCKED || !which('flock')) return
  const again = [process.execPath, ...process.argv.slice(1)]
  const env = { ...process.env, FANCYPROC_LOCKED: '1' }
  const { status } = spawnSync('flock', [at('.setup.lock'), ...again], { stdio: 'inherit', env })
  process.exit(status ?? 1)
}

/** Node's headers, where they were installed with it: node-gyp then has nothing to download. */
export function withHeaders(env = process.env) {
  const prefix = dirname(dirname(process.execPath))
  const found = existsSync(join(prefix, 'include/node/common.gypi'))
  return found && !env.npm_config_nodedir ? { ...env, npm_config_nodedir: prefix } : env
}

/** All files below the given paths, sorted. */
export function* files(...paths) {
  for (const path of paths) {
    if (!existsSync(at(path))) continue
    const entries = readdirSafely(path)
    if (!entries) yield path
    else for (const entry of entries) yield* files(join(path, entry))
  }
}

function readdirSafely(path) {
  try {
    return readdirSync(at(path)).sort()
  } catch {
    return undefined
  }
}

/** A digest of what files hold: unlike times, it survives a copy and a checkout. */
export function digest(paths, ...more) {
  const hash = createHash('sha256')
  for (const path of files(...paths))
    hash
      .update(`${relative('.', path)}\0`)
      .update(readFileSync(at(path)))
      .update('\0')
  return hash.update(JSON.stringify(more)).digest('hex')
}

export function readStamp(path) {
  try {
    return readFileSync(at(path), 'utf8')
  } catch {
    return undefined
  }
}

export function writeStamp(path, value) {
  mkdirSync(dirname(at(path)), { recursive: true })
  writeFileSync(at(path), value)
}
