// What it takes to have it: import, binary, tarball.
import { execFileSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { alone, inTurns, named, type Section } from '../measure.ts'

const project = fileURLToPath(new URL('../../..', import.meta.url))

/** In a process of its own, since the second import is free. */
function importTime(name: string): number {
  const script = `const start = performance.now(); await import('${name}'); console.log(performance.now() - start)`
  return Number(
    execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd: project, encoding: 'utf8' }),
  )
}

export const size: Section = async ({ rounds }) => {
  const names = ['fancyproc', 'fancyproc/steps', 'fancyproc/thread', 'node:child_process']
  const times = await inTurns(
    rounds(20, 5),
    Object.fromEntries(names.map((name) => [name, () => importTime(name)])),
  )
  const rows = names.map((name) =>
    alone(`import ${name}`, 'ms', times[name] ?? [], name === 'fancyproc' ? { bar: { most: 15 } } : {}),
  )
  const binary = statSync(`${project}/build/Release/fancyproc.node`).size
  rows.push(alone('binary', 'KB', [binary / 1e3], { bar: { most: 300 } }))
  const options = { cwd: project, encoding: 'utf8' } as const
  const packed = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    ...options,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const [tarball] = JSON.parse(packed) as { size: number }[]
  rows.push(alone('tarball, without prebuilt binaries', 'KB', [(tarball?.size ?? NaN) / 1e3]))
  return named('size', rows)
}
