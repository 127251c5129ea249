// npm run bench [-- options] [SECTION...]: fancyproc beside others and beside the limit, in one run; docs/performance.md.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { chart } from './chart.ts'
import { type Ratios, ratiosOf, regressions } from './check.ts'
import { met, type Row } from './measure.ts'
import { compile } from './programs.ts'
import { bars, machine, markdown, table } from './report.ts'
import { inRoom } from './room.ts'
import { sections } from './sections/index.ts'

const project = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))
const committed = project('bench/ratios.json')

const usage = `usage: npm run bench [-- OPTIONS] [SECTION...]
  --quick      fewer rounds
  --json FILE  the figures
  --check      fails if a ratio is worse than the committed ones by more than noise
  --save       commits these ratios to bench/ratios.json
  --docs       writes them into docs/performance.md and docs/performance.svg
  --compile    only the programs that are launched, for a machine without a compiler
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
    options: {
      ...{ quick: flag, json: { type: 'string' }, check: flag, save: flag, docs: flag },
      ...{ compile: flag, help: flag },
    },
    allowPositionals: true,
  })
}

function writeDocs(rows: readonly Row[]): void {
  const file = project('docs/performance.md')
  const parts = readFileSync(file, 'utf8').split(/(<!-- (?:begin|end) of what the command writes -->\n)/)
  if (parts.length !== 5) throw new Error(`${file}: the marks for the table are not there`)
  parts[2] = `\n${machine()}\n\n${bars(rows)}\n\n### Everything\n\n${markdown(rows)}\n\n`
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
if (options.compile) process.exit()
if (options.check && !existsSync(committed)) fail('there is no bench/ratios.json to compare with: --save')
console.log(machine())
const rows: Row[] = []
const broken: string[] = []
for (const name of positionals.length > 0 ? positionals : Object.keys(sections)) {
  const start = performance.now()
  try {
    const made = await inRoom(name, options.quick)
    rows.push(...made)
    console.log(`\n${name}\n${table(made)}`)
  } catch (error) {
    // The others are worth having.
    broken.push((error as Error).message)
    console.error(`bench: ${(error as Error).message}`)
  }
  console.error(`bench: ${name}, ${((performance.now() - start) / 1e3).toFixed(0)} s`)
}

const judged = rows.map(met)
const count = (verdict: boolean): string => String(judged.filter((one) => one === verdict).length)
console.log(`\n${count(true)} bars met, ${count(false)} missed`)
if (options.json !== undefined)
  writeFileSync(options.json, `${JSON.stringify({ machine: machine(), rows }, undefined, 2)}\n`)
if (options.save) {
  // Of some sections: the others stay as they were.
  const before =
    positionals.length > 0 && existsSync(committed)
      ? (JSON.parse(readFileSync(committed, 'utf8')) as Ratios)
      : {}
  writeFileSync(committed, `${JSON.stringify({ ...before, ...ratiosOf(rows) }, undefined, 2)}\n`)
}
if (options.docs) writeDocs(rows)
if (options.check) {
  const worse = regressions(rows, JSON.parse(readFileSync(committed, 'utf8')) as Ratios)
  for (const line of worse) console.error(`bench: worse: ${line}`)
  if (worse.length > 0) process.exitCode = 1
}
if (broken.length > 0) process.exitCode = 1
