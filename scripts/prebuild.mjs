// Makes this platform's binary in prebuilds/, with the helper beside it: where no memfd may be executed it runs from there.
import { copyFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { arch, execPath, versions } from 'node:process'

import { parts } from './build.mjs'
import { at, bin, lock, main, run, withHeaders, writeStamp } from './project.mjs'

await main(() => {
  lock()
  const options = ['--napi', '--strip', '--tag-libc', `--target=${versions.node}`]
  run(execPath, [bin('prebuildify'), ...options], { env: withHeaders() })
  const prebuilds = at('prebuilds', `linux-${arch}`)
  copyFileSync(at('build/Release/fancyproc-helper'), join(prebuilds, 'fancyproc-helper'))
  // prebuildify has moved the binary out of build/Release.
  const binary = readdirSync(prebuilds).find((name) => name.endsWith('.node'))
  copyFileSync(join(prebuilds, binary), at('build/Release/fancyproc.node'))
  writeStamp(parts.native.stamp, parts.native.digest())
})
