// sanitize.mjs [--test [jest's arguments]]: builds the addon for ASan and UBSan in build-sanitize/, runs the tests with it.
import { execFileSync, spawnSync } from 'node:child_process'
import { realpathSync, symlinkSync, rmSync } from 'node:fs'
import { argv, env, execPath } from 'node:process'

import { at, bin, Failure, main, run, which } from './project.mjs'

await main(() => {
  if (!which('cmake')) throw new Failure('cmake is missing (on Debian: apt-get install cmake)')
  const options = [
    '--out=build-sanitize',
    '--config=RelWithDebInfo',
    '--CDFANCYPROC_SANITIZE=ON',
    '--parallel=2',
  ]
  run(execPath, [bin('cmake-js'), 'configure', ...options])
  run(execPath, [bin('cmake-js'), 'build', ...options])
  rmSync(at('compile_commands.json'), { force: true })
  symlinkSync('build-sanitize/compile_commands.json', at('compile_commands.json'))

  if (argv[2] !== '--test') return
  const library = execFileSync('cc', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim()
  const { status } = spawnSync(execPath, [at('scripts/test.mjs'), ...argv.slice(3)], {
    stdio: 'inherit',
    env: {
      ...env,
      FANCYPROC_BINARY: at('build-sanitize/fancyproc.node'),
      FANCYPROC_SANITIZER: '1',
      FANCYPROC_SLOWNESS: env.FANCYPROC_SLOWNESS ?? '4',
      // Node isn't linked with ASan, so that has to come first. What Node itself never frees would drown our leaks.
      LD_PRELOAD: realpathSync(library),
      ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1:disable_coredump=1',
      UBSAN_OPTIONS: 'print_stacktrace=1',
    },
  })
  return status ?? 1
})
