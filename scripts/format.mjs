// format.mjs [--check]: clang-format over native/.
import { argv } from 'node:process'

import { Failure, files, main, run, which } from './project.mjs'

await main(() => {
  if (!which('clang-format'))
    throw new Failure('clang-format is missing (on Debian: apt-get install clang-format)')
  const sources = [...files('native')].filter((file) => /\.(c|cc|h|def)$/.test(file))
  run('clang-format', [...(argv.includes('--check') ? ['--dry-run', '-Werror'] : ['-i']), ...sources])
})
