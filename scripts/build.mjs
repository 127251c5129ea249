// build.mjs [native] [ts] [--debug]: builds the helper and the addon, and the TypeScript; both unless told.
import { existsSync, rmSync } from 'node:fs'
import { argv, execPath } from 'node:process'
import { fileURLToPath } from 'node:url'

import { at, bin, digest, files, lock, main, readStamp, run, withHeaders, writeStamp } from './project.mjs'

// In a clone a warning is an error; who compiles an installed package has another compiler, and no use for that.
const dev = Number(process.env.FANCYPROC_DEV ?? existsSync(at('.git')))

export const parts = {
  native: {
    stamp: 'build/.stamp',
    output: 'build/Release/fancyproc.node',
    digest: () => digest(['binding.gyp', 'native', 'scripts/embed.mjs'], process.arch),
    build(configuration = 'release') {
      const gyp = (command, ...args) =>
        run(
          execPath,
          [bin('node-gyp'), command, `--${configuration}`, '--jobs=max', '--loglevel=warn', ...args],
          {
            env: withHeaders(),
          },
        )
      gyp('configure', '--', `-Ddev=${dev}`)
      gyp('build')
    },
  },
  ts: {
    stamp: 'dist/.stamp',
    output: 'dist/lib/index.js',
    digest: () => digest(['tsconfig.json', 'package.json', 'lib', 'examples', 'bench']),
    build() {
      run(execPath, [bin('typescript', 'tsc')])
      for (const file of files('dist')) {
        const source = /^dist\/(.*?)(\.d)?\.[jt]s(\.map)?$/.exec(file)?.[1]
        if (source && !existsSync(at(`${source}.ts`))) rmSync(at(file))
      }
    },
  },
}

export const stale = (part) => !existsSync(at(part.output)) || readStamp(part.stamp) !== part.digest()

export function build(part, ...args) {
  rmSync(at(part.stamp), { force: true })
  const value = part.digest()
  part.build(...args)
  writeStamp(part.stamp, value)
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  await main(() => {
    lock()
    const wanted = argv.slice(2).filter((name) => !name.startsWith('-'))
    for (const name of wanted.length > 0 ? wanted : Object.keys(parts)) {
      if (argv.includes('--debug') && name === 'native') parts.native.build('debug')
      else build(parts[name])
    }
  })
}
