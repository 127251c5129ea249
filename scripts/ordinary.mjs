// Runs Node in the checkout as an ordinary user who exists only in a mount namespace made for it: there /etc/passwd
// and its like are mounted over, and a checkout (or a Node) below /root has a path that he can reach.
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { env, execPath } from 'node:process'

import { at, Failure, run } from './project.mjs'

const user = { name: 'fancy', id: 5000, subids: '100000:65536' }

const otherMay = (path, bit) => (statSync(path).mode & bit) !== 0
const reachable = (path) => dirname(path) === path || (otherMay(path, 0o001) && reachable(dirname(path)))

/** The machine's tables with our user added, as [copy, what it is mounted over]. */
function tables(directory) {
  const { name, id, subids } = user
  const lines = {
    '/etc/passwd': `${name}:x:${id}:${id}::${directory}/home:/bin/sh`,
    '/etc/group': `${name}:x:${id}:`,
    '/etc/subuid': `${name}:${subids}`,
    '/etc/subgid': `${name}:${subids}`,
  }
  return Object.entries(lines)
    .filter(([path]) => existsSync(path))
    .map(([path, line]) => {
      const copy = join(directory, path.slice('/etc/'.length))
      writeFileSync(copy, `${line}\n${readFileSync(path, 'utf8')}`)
      return [copy, path]
    })
}

/** The checkout below `directory`: the same files if others may read them, else copies. */
function checkout(directory) {
  const path = join(directory, 'checkout')
  mkdirSync(path)
  const samples = [
    'package.json',
    'lib',
    'dist',
    'build/Release/fancyproc.node',
    'node_modules/jest/package.json',
  ]
  if (samples.every((sample) => otherMay(at(sample), 0o004))) return [[at(), path]]
  cpSync(at(), path, { recursive: true, verbatimSymlinks: true, filter: (source) => source !== at('.git') })
  run('chmod', ['-R', 'a+rX', path])
  return []
}

function node(directory) {
  if (reachable(execPath)) return [[], execPath]
  const prefix = join(directory, 'node')
  mkdirSync(prefix)
  return [[[dirname(dirname(execPath)), prefix]], join(prefix, 'bin/node')]
}

function home(directory) {
  for (const path of ['home', 'home/run'].map((name) => join(directory, name))) {
    mkdirSync(path, { mode: 0o700 })
    chownSync(path, user.id, user.id)
  }
  return { HOME: join(directory, 'home'), XDG_RUNTIME_DIR: join(directory, 'home/run') }
}

/** `args`: Node's; those that name the checkout's files are changed to where he sees them. */
export function asOrdinaryUser(directory, args) {
  const umask = process.umask(0o022)
  chmodSync(directory, 0o755)
  const [nodeMounts, program] = node(directory)
  const mounts = [...nodeMounts, ...checkout(directory), ...tables(directory)]
  const report = join(directory, 'report')
  writeFileSync(report, '')
  chownSync(report, user.id, user.id)

  const seen = join(directory, 'checkout/')
  const own = Object.fromEntries(
    Object.entries(env).filter(([name]) => !/^(npm_|xdg_|sudo_|tmpdir$)/i.test(name)),
  )
  if (own.FANCYPROC_BINARY) own.FANCYPROC_BINARY = own.FANCYPROC_BINARY.replace(at(), seen)
  own.FANCYPROC_JEST_CACHE = `${own.FANCYPROC_JEST_CACHE || join(directory, 'home/jest')}-user`
  const PATH = `${dirname(program)}:${env.PATH}`
  const FANCYPROC_REPORT = report
  const script = `
    while [ "$1" != -- ]; do mount --bind "$1" "$2"; shift 2; done
    shift
    cd ${seen}
    exec setpriv --reuid=${user.name} --regid=${user.name} --init-groups --inh-caps=-all -- "$@"`
  const command = [program, ...args.map((arg) => arg.replace(at(), seen))]
  const result = spawnSync(
    'unshare',
    ['--mount', '--propagation=private', 'sh', '-ec', script, 'sh', ...mounts.flat(), '--', ...command],
    {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...own, ...home(directory), PATH, USER: user.name, LOGNAME: user.name, FANCYPROC_REPORT },
    },
  )
  process.umask(umask)
  if (result.error) throw new Failure(`unshare: ${result.error.message}`)
  return result
}
