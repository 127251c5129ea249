// A directory as an ext4 image; mke2fs needs no mount, and keeps owners and extended attributes.
import { execFileSync } from 'node:child_process'

import { run } from '../project.mjs'

/** `spare`: free megabytes. */
export function image(directory, file, { spare }) {
  const used = execFileSync('du', ['--summarize', '--block-size=1M', directory], { encoding: 'utf8' })
  // Inodes and the journal take their share; what stays empty takes no room in the file.
  const size = Math.ceil(parseInt(used) * 1.3) + 64 + spare
  run('mke2fs', ['-q', '-t', 'ext4', '-E', 'lazy_itable_init=1', '-d', directory, file, `${size}M`])
}
