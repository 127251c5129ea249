// build.mjs [native] [ts] [--debug]: builds the helper and the addon, and the TypeScript; both unless told.
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { argv, execPath } from 'node:process'
import { fileURLToPath } from 'node:url'

import {
  at,
  bin,
  digest,
  files,
  lock,
  main,
  readStamp,
  root,
  run,
  withHeaders,
  writeStamp,
} from './project.mjs'

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
    digest: () => digest(['tsconfig.json', 'package.json', 'scripts/build.mjs', 'lib', 'examples', 'bench']),
    build() {
      run(execPath, [bin('typescript', 'tsc')])
      const bundled = bundle()
      for (const file of files('dist')) {
        const [, source, declares] = /^dist\/(.*?)(\.d)?\.[jt]s(\.map)?$/.exec(file) ?? []
        const isOutdated = source && !existsSync(at(`${source}.ts`))
        const isInBundle = source?.startsWith('lib/') && !declares
        if (isInBundle ? !bundled.has(file) : isOutdated) rmSync(at(file))
      }
    },
  },
}

/** A file for each entry, and one for what they share: Node takes five times as long to import a hundred modules. */
function bundle() {
  // Not imported: setup.mjs installs it.
  const { buildSync } = createRequire(import.meta.url)('esbuild')
  const { metafile } = buildSync({
    absWorkingDir: root,
    // The last two are for tests, and exported to nobody.
    entryPoints: ['lib/index.ts', 'lib/steps/index.ts', 'lib/thread.ts', 'lib/native.ts', 'lib/plan.ts'],
    outdir: 'dist/lib',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    sourcemap: true,
    metafile: true,
    logLevel: 'warning',
  })
  const outputs = Object.keys(metafile.outputs)
  for (const path of outputs.filter((name) => name.endsWith('.js'))) {
    const text = readFileSync(at(path), 'utf8')
    // A class that names itself is called _Fd inside, and util.inspect() would show that.
    const names = Array.from(text.matchAll(/\bclass (_[A-Z]\w*)/g), ([, name]) => name)
    if (names.length === 0) continue
    const renamed = new RegExp(`\\b(?:${names.join('|')})\\b`, 'g')
    writeFileSync(
      at(path),
      text.replace(renamed, (name) => name.slice(1)),
    )
  }
  return new Set(outputs)
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
