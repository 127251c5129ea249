// An initramfs: busybox, the modules that lead to the disk, and what runs in the guest. Made anew for each boot.
import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { guest } from './cache.mjs'

/** `settings`: shell variables; `command`: the shell script that the machine is for. */
export function initramfs(directory, { busybox, disk, settings, command }) {
  const tree = join(directory, 'initramfs')
  for (const name of ['bin', 'dev', 'proc', 'sys', 'root', 'vm/out'])
    mkdirSync(join(tree, name), { recursive: true })
  cpSync(busybox, join(tree, 'bin/busybox'))
  cpSync(disk, join(tree, 'modules'), { recursive: true })
  for (const name of readdirSync(guest()).filter((name) => !name.includes('.'))) {
    const target = name === 'init' ? join(tree, name) : join(tree, 'vm', name)
    cpSync(guest(name), target)
    chmodSync(target, 0o755)
  }
  cpSync(busybox, join(tree, 'vm/busybox'))
  writeFileSync(
    join(tree, 'vm/settings'),
    Object.entries(settings)
      .map(([name, value]) => `${name}=${quote(value)}\n`)
      .join(''),
  )
  writeFileSync(join(tree, 'vm/command'), command)

  const list = execFileSync('find', ['.'], { cwd: tree })
  const options = { cwd: tree, input: list, maxBuffer: 256 << 20, stdio: ['pipe', 'pipe', 'ignore'] }
  const file = join(directory, 'initramfs.cpio')
  writeFileSync(file, execFileSync('cpio', ['--create', '--format=newc', '--owner=0:0'], options))
  return file
}

export const quote = (text) => `'${String(text).replaceAll("'", "'\\''")}'`
