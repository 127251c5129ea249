// The root of the machine: Debian trixie with its SELinux policy, labelled, as an ext4 image. The same for every kernel.
import { cpSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'

import { Failure, run } from '../project.mjs'
import { cached, provide, recipe } from './cache.mjs'
import { archive, hostArch, sources } from './debian.mjs'
import { image } from './image.mjs'

const SUITE = 'trixie'
const PACKAGES = [
  ...[
    'libatomic1',
    'libstdc++6',
    'procps',
    'strace',
    'uidmap',
    'bubblewrap',
    'runc',
    'crun',
    'busybox-static',
  ],
  ...['iproute2', 'iputils-ping', 'kmod', 'libcap2-bin', 'attr', 'e2fsprogs', 'bsdextrautils'],
  ...['selinux-policy-default', 'policycoreutils', 'selinux-utils', 'semodule-utils', 'apparmor'],
]

/** What every root has: mmdebstrap knows, apt wants to be told. */
const MINIMAL = ['?essential', '?priority(required)']

/** Debian's own packages, and nothing of ours: most of the time goes here, and most changes are to what comes after it. */
function base(arch) {
  const wanted = arch === hostArch ? PACKAGES : [...MINIMAL, ...PACKAGES]
  const key = recipe(['debian.mjs'], SUITE, arch, wanted)
  const path = cached(`base-${arch}`, key, (content, temporary) => {
    if (process.getuid() !== 0) throw new Failure('the root of the machine is made as root')
    const tar = join(content, 'root.tar')
    if (arch === hostArch) bootstrap(tar, temporary)
    else extract(arch, wanted, tar, temporary)
  })
  return join(path, 'root.tar')
}

function bootstrap(tar, temporary) {
  provide({ mmdebstrap: 'mmdebstrap' })
  const file = join(temporary, 'suite.sources')
  writeFileSync(file, sources(SUITE))
  run('mmdebstrap', ['--quiet', '--variant=minbase', `--include=${PACKAGES.join(',')}`, SUITE, tar, file])
}

/** Of a foreign architecture packages are only unpacked: their scripts are for that one. */
function extract(arch, wanted, tar, temporary) {
  const packages = archive(SUITE, arch, join(temporary, 'apt'))
  const tree = join(temporary, 'base')
  mkdirSync(tree)
  packages.unpack(packages.closure(...wanted), tree)
  run('tar', ['--create', '--xattrs', '--xattrs-include=*', '--file', tar, '--directory', tree, '.'])
}

/** What users need, and what only tests do; in scripts/vm. */
const modules = ['../../examples/selinux/fancyproc.cil', 'guest/tests.cil']

/** Adds our modules to the policy. */
function extendPolicy(root) {
  mkdirSync(join(root, 'tmp/policy'))
  const files = modules.map((name) => `/tmp/policy/${basename(name)}`)
  for (const [i, name] of modules.entries()) cpSync(join(import.meta.dirname, name), join(root, files[i]))
  run('chroot', [root, 'semodule', '--noreload', '--install', ...files])
  rmSync(join(root, 'tmp/policy'), { recursive: true })
}

/** Labels every file; the compiled tables beside the plain ones are for the PCRE of the guest, not ours. */
function label(root, contexts) {
  const from = join(root, 'etc/selinux/default/contexts/files')
  const plain = readdirSync(from).filter((name) => !name.endsWith('.bin'))
  for (const name of plain) cpSync(join(from, name), join(contexts, name))
  run('setfiles', ['-F', '-r', root, join(contexts, 'file_contexts'), root])
}

/** A root with its settings and the policy, not yet labelled. */
function unpack(arch, tree) {
  mkdirSync(tree)
  const attributes = ['--xattrs', '--xattrs-include=*', '--numeric-owner']
  run('tar', ['--extract', ...attributes, '--file', base(arch), '--directory', tree])
  if (arch !== hostArch) return borrow(tree)
  const files = {
    'etc/hostname': 'fancyproc\n',
    'etc/hosts': '127.0.0.1 localhost fancyproc\n::1 localhost\n',
    'etc/selinux/config': 'SELINUX=permissive\nSELINUXTYPE=default\n',
    'etc/fstab': '',
  }
  for (const [path, text] of Object.entries(files)) writeFileSync(join(tree, path), text)
  for (const path of ['etc/apt', 'etc/resolv.conf'])
    rmSync(join(tree, path), { recursive: true, force: true })
  extendPolicy(tree)
}

/** What no architecture has of its own, and packages' scripts make: users, settings, alternatives, the compiled policy. */
function borrow(tree) {
  const native = `${tree}-native`
  unpack(hostArch, native)
  for (const path of ['etc', 'var/lib/selinux']) {
    rmSync(join(tree, path), { recursive: true, force: true })
    run('cp', ['--archive', join(native, path), join(tree, path)])
  }
  rmSync(join(tree, 'etc/ld.so.cache'))
  const copy = ['cp', '--archive', '--parents', '--force', '--target-directory', tree, '{}', '+']
  run('find', ['usr', '-lname', '/etc/alternatives/*', '-exec', ...copy], { cwd: native })
}

export const root = (arch) => {
  const scripts = ['debian.mjs', 'image.mjs', 'root.mjs', ...modules]
  const key = recipe(scripts, arch)
  const path = cached(`root-${arch}`, key, (content, temporary) => {
    provide({ setfiles: 'policycoreutils', mke2fs: 'e2fsprogs' })
    const tree = join(temporary, 'tree')
    unpack(arch, tree)
    // Mount points. None is below /usr: an ordinary user's overlay would have to be without it.
    for (const name of ['opt', 'srv/modules']) mkdirSync(join(tree, name), { recursive: true })
    symlinkSync('/srv/modules', join(tree, 'usr/lib/modules'))
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
