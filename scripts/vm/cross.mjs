// The helper and the addon for another architecture, built by Debian's cross compiler.
import { cpSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { env, execPath } from 'node:process'

import { at, bin, digest, run, withHeaders } from '../project.mjs'
import { cached, provide, recipe } from './cache.mjs'

const SOURCES = ['binding.gyp', 'native', 'scripts/embed.mjs', 'package.json']
const targets = {
  arm64: { triple: 'aarch64-linux-gnu', gyp: 'arm64' },
  amd64: { triple: 'x86-64-linux-gnu', gyp: 'x64' },
}

/** A directory with build/Release in it. */
export function crossBuild(arch) {
  const { triple, gyp } = targets[arch]
  return cached(`build-${arch}`, recipe(['cross.mjs'], digest(SOURCES)), (content, temporary) => {
    const prefix = triple.replace('x86-64', 'x86_64')
    provide({
      [`${prefix}-gcc`]: `gcc-${triple}`,
      [`${prefix}-g++`]: `g++-${triple}`,
      make: 'make',
      python3: 'python3',
    })
    for (const path of SOURCES) cpSync(at(path), join(temporary, path), { recursive: true })
    symlinkSync(at('node_modules'), join(temporary, 'node_modules'))
    const compilers = { CC: `${prefix}-gcc`, CXX: `${prefix}-g++`, AR: `${prefix}-ar`, LINK: `${prefix}-g++` }
    run(execPath, [bin('node-gyp'), 'rebuild', '--release', `--arch=${gyp}`, '--jobs=2', '--loglevel=warn'], {
      cwd: temporary,
      env: { ...withHeaders(env), ...compilers },
    })
    mkdirSync(join(content, 'build/Release'), { recursive: true })
    for (const name of ['fancyproc.node', 'fancyproc-helper']) {
      cpSync(join(temporary, 'build/Release', name), join(content, 'build/Release', name))
    }
  })
}
