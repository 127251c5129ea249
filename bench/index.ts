// npm run bench [-- options] [SECTION...]: fancyproc beside others and beside the limit, in one run; docs/performance.md.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { chart } from './chart.ts'
import { type Ratios, ratiosOf, regressions } from './check.ts'
import { met, type Row } from './measure.ts'
import { compile } from './programs.ts'
import { machine, markdown, table } from './report.ts'
import { sections } from './sections/index.ts'

const project = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))
const committed = project('bench/ratios.json')

const usage = `usage: npm run bench [-- OPTIONS] [SECTION...]
  --quick      under 60 s
  --json FILE  the figures
  --check      fails if a ratio is worse than the committed ones by more than noise
  --save       commits these ratios to bench/ratios.json
  --docs       writes them into docs/performance.md and docs/performance.svg
sections: ${Object.keys(sections).join(', ')}`

function fail(message: string): never {
  console.error(`bench: ${message}\n${usage}`)
  process.exit(2)
}

function parse(): ReturnType<typeof parsed> {
  try {
    return parsed()
  } catch (error) {
    return fail((error as Error).message)
  }
}

function parsed() {
  const flag = { type: 'boolean', default: false } as const
  return parseArgs({
    options: { quick: flag, json: { type: 'string' }, check: flag, save: flag, docs: flag, help: flag },
    allowPositionals: true,
  })
}

async function run(name: string, quick: boolean): Promise<Row[]> {
  const start = performance.now()
  const child = fork(
    fileURLToPath(new URL('section.js', import.meta.url)),
    [name, ...(quick ? ['quick'] : [])],
    {
      execArgv: ['--expose-gc'],
      // JSON has no NaN.
      serialization: 'advanced',
    },
  )
  const rows: Row[] = []
  child.on('message', (message) => rows.push(...(message as Row[])))
  const [code] = (await once(child, 'exit')) as [number | null]
  if (code !== 0) throw new Error(`the section ${name} ended with ${String(code)}`)
  console.error(`bench: ${name}, ${((performance.now() - start) / 1e3).toFixed(0)} s`)
  return rows
}

function writeDocs(rows: readonly Row[]): void {
  const file = project('docs/performance.md')
  const parts = readFileSync(file, 'utf8').split(/(<!-- (?:begin|end) of what the command writes -->\n)/)
  if (parts.length !== 5) throw new Error(`${file}: the marks for the table are not there`)
  parts[2] = `\n${machine()}\n\n${markdown(rows)}\n\n`
  writeFileSync(file, parts.join(''))
  writeFileSync(project('docs/performance.svg'), chart(rows, machine()))
}

const { values: options, positionals } = parse()
if (options.help) {
  console.log(usage)
  process.exit()
}
const unknown = positionals.find((name) => !(name in sections))
if (unknown !== undefined) fail(`no section is called ${unknown}`)

compile()
console.log(machine())
const rows: Row[] = []
for (const name of positionals.length > 0 ? positionals : Object.keys(sections)) {
  const made = await run(name, options.quick)
  rows.push(...made)
  console.log(`\n${name}\n${table(made)}`)
}

const missed = rows.filter((row) => met(row) === false)
console.log(`\n${String(rows.filter((row) => met(row)).length)} bars met, ${String(missed.length)} missed`)
if (options.json !== undefined)
  writeFileSync(options.json, `${JSON.stringify({ machine: machine(), rows }, undefined, 2)}\n`)
if (options.save) writeFileSync(committed, `${JSON.stringify(ratiosOf(rows), undefined, 2)}\n`)
if (options.docs) writeDocs(rows)
if (options.check) {
  const worse = regressions(rows, JSON.parse(readFileSync(committed, 'utf8')) as Ratios)
  for (const line of worse) console.error(`bench: worse: ${line}`)
  if (worse.length > 0) process.exitCode = 1
}
