// Debian's packages of any suite and architecture, from where this machine gets its own; nothing is installed.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { Failure, run } from '../project.mjs'

/** Debian's name of an architecture → Node's. */
export const cpus = { amd64: 'x64', arm64: 'arm64' }
export const hostArch = Object.keys(cpus).find((name) => cpus[name] === process.arch)

const SUITE = /^(stable|oldstable|testing|unstable|sid|bullseye|bookworm|trixie|forky|duke)$/

const names = (directory, ending) =>
  existsSync(directory)
    ? readdirSync(directory)
        .filter((name) => name.endsWith(ending))
        .sort()
        .map((name) => join(directory, name))
    : []

/** One-line entries as stanzas: `deb [signed-by=KEY] URI SUITE COMPONENT…`. */
function stanzaOf(line) {
  const [, options = '', uri, suites] = /^deb\s+(?:\[(.*?)\]\s+)?(\S+)\s+(\S+)/.exec(line) ?? []
  const key = /(?:^|\s)signed-by=(\S+)/.exec(options)?.[1]
  return `Types: deb\nURIs: ${uri}\nSuites: ${suites}${key ? `\nSigned-By: ${key}` : ''}`
}

function stanzas() {
  const lines = ['/etc/apt/sources.list', ...names('/etc/apt/sources.list.d', '.list')]
    .filter((file) => existsSync(file))
    .flatMap((file) => readFileSync(file, 'utf8').split('\n'))
  const files = names('/etc/apt/sources.list.d', '.sources').map((file) => readFileSync(file, 'utf8'))
  return [
    ...lines.filter((line) => /^deb\s/.test(line)).map(stanzaOf),
    ...files.flatMap((text) => text.replace(/^#.*\n/gm, '').split(/\n\s*\n/)),
  ]
}

/** This machine's Debian archives, for another suite. */
export function sources(suite) {
  const found = stanzas().filter((stanza) => {
    const field = (name) => new RegExp(`^${name}:\\s*(.*)$`, 'im').exec(stanza)?.[1].split(/\s+/) ?? []
    return (
      field('Types').includes('deb') &&
      !field('Enabled').includes('no') &&
      field('Suites').some((name) => SUITE.test(name))
    )
  })
  if (found.length === 0)
    throw new Failure(`apt knows no Debian archive here, from which ${suite} could come`)
  const changed = found.map((stanza) =>
    stanza
      .replace(/^Suites:.*$/im, `Suites: ${suite}`)
      .replace(/^Types:.*$/im, 'Types: deb')
      .replace(/^(Components|Architectures):.*\n?/gim, '')
      .trim(),
  )
  return [...new Set(changed)].map((stanza) => `${stanza}\nComponents: main\n`).join('\n')
}

/** apt-get for a suite and an architecture: lists, cache and state are in `directory`, and no package counts as installed. */
export function archive(suite, arch, directory) {
  for (const name of ['lists/partial', 'cache/archives/partial', 'packages']) {
    mkdirSync(join(directory, name), { recursive: true })
  }
  writeFileSync(join(directory, 'status'), '')
  writeFileSync(join(directory, 'suite.sources'), sources(suite))
  const options = Object.entries({
    'Dir::State': directory,
    'Dir::State::Lists': join(directory, 'lists'),
    'Dir::State::status': join(directory, 'status'),
    'Dir::Cache': join(directory, 'cache'),
    'Dir::Etc::SourceList': join(directory, 'suite.sources'),
    'Dir::Etc::SourceParts': '/dev/null',
    'Dir::Etc::PreferencesParts': '/dev/null',
    'APT::Architecture': arch,
    'APT::Architectures': arch,
    'APT::Sandbox::User': 'root',
    'Acquire::Languages': 'none',
  }).map(([name, value]) => `-o${name}=${value}`)
  run('apt-get', [...options, 'update', '-q'])

  return {
    /** What installing these would install. */
    closure(...wanted) {
      const args = [...options, '--simulate', '--no-install-recommends', 'install', ...wanted]
      const output = execFileSync('apt-get', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
      return [...output.matchAll(/^Inst (\S+)/gm)].map(([, found]) => found.replace(/:.*/, ''))
    },
    /** Unpacks packages into `target`, without their scripts. */
    unpack(packages, target) {
      const cwd = join(directory, 'packages')
      run('apt-get', [...options, 'download', '-q', ...packages], { cwd })
      for (const name of readdirSync(cwd)) run('dpkg-deb', ['-x', join(cwd, name), target])
    },
  }
}
