// Compiles TypeScript for jest by the compiler that makes dist. What it makes is kept beside the builds, by the path of its
// source: compiling once is enough for both users, and for a virtual machine to which the checkout is copied.
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { pid } from 'node:process'
import { fileURLToPath } from 'node:url'

const require = createRequire(import.meta.url)
const root = fileURLToPath(new URL('../..', import.meta.url))
const kept = join(root, 'build/js')

const compilerOptions = {
  target: 'es2022',
  module: 'esnext',
  verbatimModuleSyntax: true,
  inlineSourceMap: true,
  inlineSources: true,
}

const hash = (...texts) =>
  texts.reduce((all, text) => all.update(`${text}\0`), createHash('sha256')).digest('hex')
const recipe = hash(JSON.stringify(compilerOptions), require('typescript/package.json').version)

function read(file) {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

/** Kept for who comes next, if this user may write there. */
function keep(file, text) {
  try {
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(`${file}.${pid}`, text)
    renameSync(`${file}.${pid}`, file)
  } catch (error) {
    if (!['EACCES', 'EPERM', 'EROFS'].includes(error.code)) throw error
  }
}

/** The compiler takes long to load: only when there is something to compile. */
function compile(source, fileName) {
  const ts = require('typescript')
  const options = ts.convertCompilerOptionsFromJson(compilerOptions, root).options
  return ts.transpileModule(source, { fileName, compilerOptions: options }).outputText
}

export function compiled(path, source = readFileSync(path, 'utf8')) {
  const name = relative(root, path)
  const file = join(kept, `${name}.js`)
  const heading = `// ${hash(recipe, source)}\n`
  const before = read(file)
  if (before?.startsWith(heading)) return before.slice(heading.length)
  const code = compile(source, path)
  keep(file, heading + code)
  return code
}

export default {
  process: (source, path) => ({ code: compiled(path, source) }),
  getCacheKey: (source, path) => hash(recipe, path, source),
}
