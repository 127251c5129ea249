// What it takes to have it: import, binary, tarball.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { alone, compared, inTurns, missing, named, type Section, type Unnamed } from '../measure.ts'
import { makeRoot } from '../programs.ts'

const project = fileURLToPath(new URL('../../..', import.meta.url))
const binary = join(project, 'build/Release/fancyproc.node')

/** In a process of its own, since the second import is free. */
function timed(statement: string): number {
  const script = `const start = performance.now(); ${statement}; console.log(performance.now() - start)`
  return Number(
    execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd: project, encoding: 'utf8' }),
  )
}

const imported = (name: string) => (): number => timed(`await import(${JSON.stringify(name)})`)

/** As many modules with nothing in them: the loader's own share. */
function emptyModules(directory: string, count: number): string {
  mkdirSync(directory)
  writeFileSync(join(directory, 'package.json'), '{"type":"module"}')
  const names = Array.from({ length: count }, (_, i) => `m${String(i)}.js`)
  for (const name of names) writeFileSync(join(directory, name), 'export {}\n')
  writeFileSync(join(directory, 'index.js'), names.map((name) => `import './${name}'\n`).join(''))
  return pathToFileURL(join(directory, 'index.js')).href
}

const modulesOf = (directory: string): number =>
  readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.js')).length

export const size: Section = async ({ rounds }) => {
  using directory = makeRoot()
  const count = modulesOf(join(project, 'dist/lib'))
  const empty = emptyModules(join(directory.path, 'modules'), count - 1)
  const parts = ['fancyproc', 'fancyproc/steps', 'fancyproc/thread', 'node:child_process']
  const load = `process.dlopen({ exports: {} }, ${JSON.stringify(binary)})`
  const times = await inTurns<string>(
    rounds(40, 5),
    {
      ...Object.fromEntries(parts.map((name) => [name, imported(name)])),
      empty: imported(empty),
      binary: () => timed(load),
    },
    1,
  )
  const time = (name: string): number[] => times[name] ?? []
  return named('size', [
    compared('import fancyproc', 'ms', time('fancyproc'), `${count} empty modules`, time('empty'), {
      bar: { of: 'ours p50', most: 15 },
    }),
    ...parts.slice(1).map((name) => alone(`import ${name}`, 'ms', time(name))),
    alone('load of the binary', 'ms', time('binary')),
    ...sizes(),
  ])
}

function sizes(): Unnamed[] {
  const rows = [alone('binary', 'KB', [statSync(binary).size / 1e3], { bar: { most: 300 } })]
  const prebuilds = join(project, 'prebuilds')
  if (existsSync(prebuilds))
    for (const name of readdirSync(prebuilds, { recursive: true, encoding: 'utf8' }))
      if (name.endsWith('.node')) rows.push(alone(name, 'KB', [statSync(join(prebuilds, name)).size / 1e3]))
  try {
    const packed = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: project,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const [tarball] = JSON.parse(packed) as { size: number }[]
    const what = existsSync(prebuilds) ? 'tarball' : 'tarball, without prebuilt binaries'
    rows.push(alone(what, 'KB', [(tarball?.size ?? NaN) / 1e3]))
  } catch {
    rows.push(missing('tarball', 'npm pack does not run here'))
  }
  return rows
}
