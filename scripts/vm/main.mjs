// main.mjs test|shell [options] [jest's arguments, or a command]: runs the suite, or a shell, in a virtual machine;
// see docs/testing.md.
import { join } from 'node:path'
import { argv, env, stdout } from 'node:process'

import { Failure, main } from '../project.mjs'
import { boot, tools } from './boot.mjs'
import { provide, say, scratch, seconds } from './cache.mjs'
import { archiveCheckout, dependencies } from './checkout.mjs'
import { cpus, hostArch } from './debian.mjs'
import { quote } from './initramfs.mjs'
import { kernel } from './kernel.mjs'
import { collectReports, printUnion } from './report.mjs'
import { root } from './root.mjs'

const choices = {
  '--kernel': '6.12',
  '--lsm': 'selinux',
  '--user': '',
  '--arch': hostArch,
  '--node': '20',
  '--accel': 'tcg',
  '--minutes': '40',
}

/** Our options; the rest is for jest. */
function parse(args) {
  const options = { ...choices }
  const rest = []
  while (args.length > 0) {
    const [name, value] = args.shift().split(/=(.*)/s)
    if (!(name in choices)) rest.push(value === undefined ? name : `${name}=${value}`)
    else options[name] = value ?? args.shift()
  }
  return { options, rest }
}

await main(async () => {
  const [mode, ...args] = argv.slice(2)
  if (args.includes('--report')) return printUnion({ brief: args.includes('--brief') })
  const { options, rest } = parse(args)
  const { '--kernel': version, '--lsm': lsm, '--arch': arch, '--accel': accel, '--user': user } = options
  if (!['selinux', 'apparmor'].includes(lsm)) throw new Failure(`--lsm ${lsm}: expected selinux or apparmor`)
  if (!(arch in cpus)) throw new Failure(`--arch ${arch}: expected ${Object.keys(cpus).join(' or ')}`)
  if (!['', 'root', 'user'].includes(user)) throw new Failure(`--user ${user}: expected root or user`)

  const start = Date.now()
  provide(tools)
  const chosen = kernel(version, arch)
  const tree = root(arch)
  const modules = dependencies(options['--node'], arch, tree.contexts)
  return scratch(async (directory) => {
    const project = join(directory, 'checkout.tar')
    archiveCheckout(project, arch)
    say(`booting ${chosen.version} with ${lsm}, ${seconds(start)} after the start`)
    const variables = {
      FANCYPROC_MACHINE: `Linux ${version} ${lsm} ${arch} node ${options['--node']}`,
      FANCYPROC_PROMISED: JSON.stringify({ kernel: version, lsm }),
      // They come back with the results.
      FANCYPROC_REPORTS: '/run/vm/out/reports',
      FANCYPROC_PASS: user,
      FANCYPROC_SCALE: env.FANCYPROC_SCALE ?? '0.05',
      FANCYPROC_SLOWNESS: env.FANCYPROC_SLOWNESS ?? '20',
      FANCYPROC_JEST_CACHE: '/dev/shm/jest',
      FANCYPROC_AGAIN: env.FANCYPROC_AGAIN ?? '',
      CI: 'true',
    }
    const suite = `node scripts/test.mjs ${rest.map(quote).join(' ')}`
    const exports = Object.entries(variables).map(([name, value]) => `export ${name}=${quote(value)}\n`)
    const { status, out } = await boot(directory, {
      arch,
      accel,
      lsm,
      kernel: chosen,
      root: tree,
      disks: [modules, project],
      settings: { ROWS: stdout.rows ?? 24, COLUMNS: stdout.columns ?? 80 },
      script: `${exports.join('')}${mode === 'shell' ? rest.join(' ') : suite}\n`,
      start,
      minutes: Number(options['--minutes']),
      shell: mode === 'shell' && rest.length === 0,
    })
    collectReports(out)
    return status
  })
})
