// Finds the binary: a prebuilt one in the package, or what `npm install` built in a clone.
import { existsSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const require = createRequire(import.meta.url)

/** The package's root: the nearest directory above this file with a package.json. */
function packageRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(directory, 'package.json')) && dirname(directory) !== directory) {
    directory = dirname(directory)
  }
  return directory
}

function list(directory: string): string {
  try {
    return readdirSync(directory).join(', ') || 'empty'
  } catch {
    return 'not there'
  }
}

function explain(root: string, cause: unknown): Error {
  const { platform, arch, version } = process
  const lines = [`fancyproc: no binary for ${platform} ${arch}, Node ${version}`]
  if (platform !== 'linux') {
    lines.push(
      'It exposes interfaces of the Linux kernel: its types can be used here, its functions only on Linux.',
    )
  } else {
    lines.push(
      `  looked in ${join(root, 'prebuilds')}: ${list(join(root, 'prebuilds'))}`,
      `  looked in ${join(root, 'build/Release')}: ${list(join(root, 'build/Release'))}`,
      `  ${cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause)}`,
      'Packages from `npm pack` have prebuilt binaries. For another machine, build one in a clone of the repository, with a',
      'C++20 compiler, make and python3: `npm install`, and name it by FANCYPROC_BINARY=…/build/Release/fancyproc.node',
    )
  }
  return new Error(lines.join('\n'), { cause })
}

export function load(): unknown {
  const named = process.env['FANCYPROC_BINARY']
  if (named) return require(named)
  const root = packageRoot()
  try {
    if (process.platform !== 'linux') throw new Error(`not Linux`)
    const find = require('node-gyp-build') as (root: string) => unknown
    return find(root)
  } catch (cause) {
    throw explain(root, cause)
  }
}
