// QEMU, as Debian trixie has it, unpacked and run by its own dynamic linker: nothing is installed, and it is the same
// everywhere. Before 8.1 it may translate code that another processor is changing, and the kernel meets a breakpoint of its own.
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

import { cached, recipe } from './cache.mjs'
import { archive, hostArch } from './debian.mjs'

const SUITE = 'trixie'
const programs = {
  amd64: { name: 'qemu-system-x86_64', package: 'qemu-system-x86' },
  arm64: { name: 'qemu-system-aarch64', package: 'qemu-system-arm' },
}
const libraries = { amd64: 'usr/lib/x86_64-linux-gnu', arm64: 'usr/lib/aarch64-linux-gnu' }[hostArch]

/** A command, and the environment that it takes, for a machine of this architecture. */
export function qemu(arch) {
  const { name, package: wanted } = programs[arch]
  const path = cached(`qemu-${arch}`, recipe(['debian.mjs', 'qemu.mjs'], hostArch), (content, temporary) => {
    const packages = archive(SUITE, hostArch, join(temporary, 'apt'))
    const tree = join(content, 'tree')
    mkdirSync(tree)
    packages.unpack(packages.closure(wanted), tree)
  })
  const tree = join(path, 'tree')
  const library = join(tree, libraries)
  const linker = readdirSync(library).find((file) => file.startsWith('ld-linux'))
  const data = ['usr/share/qemu', 'usr/share/seabios'].flatMap((directory) => ['-L', join(tree, directory)])
  return {
    command: [join(library, linker), '--library-path', library, join(tree, 'usr/bin', name), ...data],
    env: { ...process.env, QEMU_MODULE_DIR: join(library, 'qemu') },
  }
}
