// The root of the machine: Debian trixie with its SELinux policy, labelled, as an ext4 image. The same for every kernel.
import { cpSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { Failure, run } from '../project.mjs'
import { cached, guest, provide, recipe } from './cache.mjs'
import { hostArch, sources } from './debian.mjs'
import { image } from './image.mjs'

const SUITE = 'trixie'
const PACKAGES = [
  ...['libatomic1', 'libstdc++6', 'procps', 'strace', 'uidmap', 'bubblewrap', 'runc', 'busybox-static'],
  ...['iproute2', 'iputils-ping', 'kmod', 'libcap2-bin', 'attr', 'e2fsprogs', 'bsdextrautils'],
  ...['selinux-policy-default', 'policycoreutils', 'selinux-utils', 'semodule-utils', 'apparmor'],
]
/** Of a foreign architecture packages are only unpacked: their scripts would need it. */
const optionsFor = (arch) =>
  arch === hostArch
    ? ['--variant=minbase', `--include=${PACKAGES.join(',')}`]
    : ['--variant=extract', `--include=?essential,${PACKAGES.join(',')}`]

/** mmdebstrap takes most of the time, and most changes are to what comes after it. */
function base(arch) {
  const key = recipe(['debian.mjs'], SUITE, arch, optionsFor(arch))
  const path = cached(`base-${arch}`, key, (content, temporary) => {
    if (process.getuid() !== 0) throw new Failure('the root of the machine is made as root')
    provide({ mmdebstrap: 'mmdebstrap' })
    const file = join(temporary, 'suite.sources')
    writeFileSync(file, sources(SUITE))
    const options = ['--quiet', `--architectures=${arch}`, ...optionsFor(arch)]
    run('mmdebstrap', [...options, SUITE, join(content, 'root.tar'), file])
  })
  return join(path, 'root.tar')
}

function unpack(arch, tree) {
  const options = ['--xattrs', '--xattrs-include=*', '--numeric-owner', '--directory', tree]
  run('tar', ['--extract', ...options, '--file', base(arch)])
  if (arch === hostArch) return
  // What the scripts would have made: users, settings, the compiled policy.
  run('tar', ['--extract', ...options, '--file', base(hostArch), './etc', './var/lib/selinux'])
  rmSync(join(tree, 'etc/ld.so.cache'))
}

const modules = readdirSync(guest()).filter((name) => name.endsWith('.cil'))

/** Adds our modules to the policy. */
function extendPolicy(root) {
  mkdirSync(join(root, 'tmp/policy'))
  for (const name of modules) cpSync(guest(name), join(root, 'tmp/policy', name))
  run('chroot', [
    root,
    'semodule',
    '--noreload',
    '--install',
    ...modules.map((name) => `/tmp/policy/${name}`),
  ])
  rmSync(join(root, 'tmp/policy'), { recursive: true })
}

/** Labels every file; the compiled tables beside the plain ones are for the PCRE of the guest, not ours. */
function label(root, contexts) {
  const from = join(root, 'etc/selinux/default/contexts/files')
  const plain = readdirSync(from).filter((name) => !name.endsWith('.bin'))
  for (const name of plain) cpSync(join(from, name), join(contexts, name))
  run('setfiles', ['-F', '-r', root, join(contexts, 'file_contexts'), root])
}

function settle(root) {
  const files = {
    'etc/hostname': 'fancyproc\n',
    'etc/hosts': '127.0.0.1 localhost fancyproc\n::1 localhost\n',
    'etc/selinux/config': 'SELINUX=permissive\nSELINUXTYPE=default\n',
    'etc/fstab': '',
  }
  for (const [path, text] of Object.entries(files)) writeFileSync(join(root, path), text)
  for (const path of ['etc/apt/sources.list.d', 'etc/resolv.conf']) {
    rmSync(join(root, path), { recursive: true, force: true })
  }
  // Mount points.
  for (const path of ['opt', 'usr/lib/modules']) mkdirSync(join(root, path), { recursive: true })
}

export const root = (arch) => {
  const scripts = ['debian.mjs', 'image.mjs', 'root.mjs', ...modules.map((name) => `guest/${name}`)]
  const key = recipe(scripts, arch)
  const path = cached(`root-${arch}`, key, (content, temporary) => {
    provide({ setfiles: 'policycoreutils', mke2fs: 'e2fsprogs' })
    const tree = join(temporary, 'tree')
    mkdirSync(tree)
    unpack(arch, tree)
    settle(tree)
    extendPolicy(tree)
    mkdirSync(join(content, 'contexts'))
    label(tree, join(content, 'contexts'))
    cpSync(join(tree, 'usr/bin/busybox'), join(content, 'busybox'))
    image(tree, join(content, 'root.img'), { spare: 2048 })
  })
  return {
    image: join(path, 'root.img'),
    contexts: join(path, 'contexts/file_contexts'),
    busybox: join(path, 'busybox'),
  }
}
