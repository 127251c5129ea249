// Removes what the builds made; node_modules stays.
import { rmSync } from 'node:fs'

import { at } from './project.mjs'

for (const path of [
  'build',
  'build-sanitize',
  'dist',
  'prebuilds',
  'coverage',
  '.vm',
  'compile_commands.json',
]) {
  rmSync(at(path), { recursive: true, force: true })
}
