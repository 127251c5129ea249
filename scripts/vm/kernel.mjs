// A stock kernel of Debian's: vmlinuz, a file system with its modules, and those that it needs to reach a disk.
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'

import { Failure, run } from '../project.mjs'
import { cached, provide, recipe } from './cache.mjs'
import { archive } from './debian.mjs'
import { image } from './image.mjs'

/** Version → Debian's suite that has it. */
export const suites = { '5.10': 'bullseye', 6.1: 'bookworm', 6.12: 'trixie', sid: 'sid' }

const DISK = ['virtio_pci', 'virtio_blk', 'ext4']
const decompress = { '.ko': ['cat'], '.ko.xz': ['xz', '-dc'], '.ko.zst': ['zstd', '-dcq'] }

function find(directory, pattern) {
  const found = existsSync(directory) ? readdirSync(directory).find((name) => pattern.test(name)) : undefined
  return found && join(directory, found)
}

/** Modules in the order in which they load; what is built in is not among them. */
function needed(tree, version) {
  const args = ['--dirname', tree, '--set-version', version, '--show-depends', '--all', ...DISK]
  const output = execFileSync('/usr/sbin/modprobe', args, { encoding: 'utf8' })
  return [...new Set([...output.matchAll(/^insmod (\S+)/gm)].map(([, path]) => path))]
}

function build(suite, arch, content, temporary) {
  const packages = archive(suite, arch, join(temporary, 'apt'))
  const names = packages
    .closure(`linux-image-cloud-${arch}`)
    // In sid vmlinuz and the modules are packages of their own.
    .filter((name) => /^linux-(image|binary|modules|base)-\d/.test(name))
  const unpacked = join(temporary, 'unpacked')
  packages.unpack(names, unpacked)

  const tree = join(temporary, 'tree')
  mkdirSync(join(tree, 'lib/modules'), { recursive: true })
  const modules = ['lib/modules', 'usr/lib/modules'].map((name) => join(unpacked, name)).find(existsSync)
  const version = modules && readdirSync(modules)[0]
  if (!version) throw new Failure(`no modules in ${names.join(', ')}`)
  cpSync(modules, join(tree, 'lib/modules'), { recursive: true, verbatimSymlinks: true })
  run('/usr/sbin/depmod', ['-b', tree, version])

  const vmlinuz = find(join(unpacked, 'boot'), /^vmlinu[xz]/) ?? find(join(modules, version), /^vmlinu[xz]/)
  if (!vmlinuz) throw new Failure(`no vmlinuz in ${names.join(', ')}`)
  cpSync(vmlinuz, join(content, 'vmlinuz'))
  mkdirSync(join(content, 'disk'))
  needed(tree, version).forEach((path, index) => {
    const [name, ending] = basename(path).split(/(?=\.ko)/)
    const [program, ...args] = decompress[ending]
    const file = join(content, 'disk', `${String(index).padStart(2, '0')}-${name}.ko`)
    writeFileSync(file, execFileSync(program, [...args, path], { maxBuffer: 64 << 20 }))
  })
  image(join(tree, 'lib/modules'), join(content, 'modules.img'), { spare: 8 })
  writeFileSync(join(content, 'version'), version)
}

export function kernel(name, arch) {
  const suite = suites[name]
  if (!suite) throw new Failure(`--kernel ${name}: expected ${Object.keys(suites).join(', ')}`)
  const key = recipe(['kernel.mjs', 'debian.mjs', 'image.mjs'], suite, arch)
  const path = cached(`kernel-${name}-${arch}`, key, (content, temporary) => {
    provide({ depmod: 'kmod', xz: 'xz-utils', zstd: 'zstd', mke2fs: 'e2fsprogs' })
    build(suite, arch, content, temporary)
  })
  return {
    version: readFileSync(join(path, 'version'), 'utf8'),
    vmlinuz: join(path, 'vmlinuz'),
    modules: join(path, 'modules.img'),
    disk: join(path, 'disk'),
  }
}
