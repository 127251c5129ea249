// The checkout as two disks: Node and the dependencies, which rarely change, and a tar archive of the rest for each run.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import { compiled } from '../../test/support/transform.mjs'
import { at, Failure, files, run } from '../project.mjs'
import { cached, provide, recipe } from './cache.mjs'
import { crossBuild } from './cross.mjs'
import { cpus, hostArch } from './debian.mjs'
import { image } from './image.mjs'

const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
const platform = (arch) => ['--os=linux', `--cpu=${cpus[arch]}`, '--libc=glibc']

/** Node as its makers build it: Debian's, with a libuv that is not Node's own, refuses process.setuid(). */
function node(version, arch) {
  const path = cached(`node-${version}-${arch}`, recipe(['checkout.mjs']), (content) => {
    const name = `node-linux-${cpus[arch]}`
    const place = ['--prefix', content, '--no-save', '--no-package-lock', '--force']
    run('npm', ['install', ...place, ...quiet, ...platform(arch), `${name}@${version}`])
    cpSync(join(content, 'node_modules', name, 'bin/node'), join(content, 'node'))
  })
  return join(path, 'node')
}

function copyDependencies(target, arch) {
  if (arch === hostArch) {
    const cache = at('node_modules/.cache')
    const options = { recursive: true, verbatimSymlinks: true, filter: (source) => source !== cache }
    cpSync(at('node_modules'), join(target, 'node_modules'), options)
    return
  }
  for (const name of ['package.json', 'package-lock.json']) cpSync(at(name), join(target, name))
  run('npm', ['ci', '--prefix', target, '--include=dev', ...quiet, ...platform(arch)])
}

/** The guest's /opt: the policy knows its files as programs and libraries that everybody may use. */
export function dependencies(version, arch, contexts) {
  const lock = at('node_modules/.package-lock.json')
  if (!existsSync(lock)) throw new Failure('no node_modules: npm ci')
  const texts = [lock, contexts].map((file) => readFileSync(file, 'utf8'))
  const key = recipe(['checkout.mjs', 'image.mjs'], version, ...texts)
  const path = cached(`dependencies-${arch}`, key, (content, temporary) => {
    provide({ setfiles: 'policycoreutils', mke2fs: 'e2fsprogs' })
    const opt = join(temporary, 'opt')
    for (const name of ['fancyproc', 'node/bin']) mkdirSync(join(opt, name), { recursive: true })
    cpSync(node(version, arch), join(opt, 'node/bin/node'))
    copyDependencies(join(opt, 'fancyproc'), arch)
    run('chown', ['-R', '0:0', opt])
    run('chmod', ['-R', 'a+rX', opt])
    run('setfiles', ['-F', '-r', temporary, contexts, opt])
    image(opt, join(content, 'dependencies.img'), { spare: 512 })
  })
  return join(path, 'dependencies.img')
}

function tar(args) {
  const { status, stderr } = spawnSync('tar', args, { encoding: 'utf8' })
  // 1: a file changed meanwhile. Somebody is at work.
  if (status !== 0 && status !== 1) throw new Failure(`tar: ${stderr}`)
}

export function archiveCheckout(file, arch) {
  // What is compiled here is not compiled there.
  for (const path of [...files('lib', 'test')].filter((name) => name.endsWith('.ts'))) compiled(at(path))
  const own = arch === hostArch
  const left = ['node_modules', '.git', '.setup.lock', '.vm', 'build-sanitize', 'coverage']
  const builds = own ? ['build/Release/obj*'] : ['build/Release', 'prebuilds']
  const modes = ['--owner=0', '--group=0', '--mode=a+rX,u+w']
  const excluded = [...left, ...builds].map((path) => `--exclude=./${path}`)
  tar(['--create', '--file', file, '--directory', at(), ...modes, ...excluded, '.'])
  if (!own) tar(['--append', '--file', file, '--directory', crossBuild(arch), ...modes, './build'])
}
