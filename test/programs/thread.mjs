// thread.mjs SCENARIO: does something to a thread of this process, and prints what it saw as JSON.
import {
  readFileSync,
  readlinkSync,
  promises,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { argv, exit, geteuid } from 'node:process'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { fileURLToPath } from 'node:url'

import { Fd, KernelError } from '../../dist/lib/index.js'
import * as thread from '../../dist/lib/thread.js'

const own = (kind) => readlinkSync(`/proc/thread-self/ns/${kind}`)
const status = (name) =>
  new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(readFileSync('/proc/thread-self/status', 'utf8'))[1]

function refused(body) {
  try {
    return { returned: body() }
  } catch (error) {
    if (!(error instanceof KernelError)) throw error
    const { code, errno, syscall, path, dest, hint, message } = error
    return { code, errno, syscall, path, dest, hint, message }
  }
}

function scratch(body) {
  const directory = mkdtempSync(join(tmpdir(), 'fancyproc-'))
  const clean = () => rmSync(directory, { recursive: true, force: true })
  try {
    const result = body(directory)
    if (result instanceof Promise) return result.finally(clean)
    clean()
    return result
  } catch (error) {
    clean()
    throw error
  }
}

/** What a new Worker does in one of the scenarios; it has ended when this resolves. */
async function inWorker(name) {
  const worker = new Worker(fileURLToPath(import.meta.url), { workerData: name })
  const ended = new Promise((resolve) => worker.once('exit', resolve))
  const said = await new Promise((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
  await ended
  return said
}

const scenarios = {
  async uts() {
    const before = { name: hostname(), namespace: own('uts') }
    thread.unshare('uts')
    thread.sethostname('fancyproc-thread')
    thread.setdomainname('fancyproc.test')
    const inside = { name: hostname(), namespace: own('uts') }
    const pool = await promises.readlink('/proc/thread-self/ns/uts')
    return { before, inside, pool, domain: readFileSync('/proc/sys/kernel/domainname', 'utf8').trim() }
  },
  mount() {
    return scratch(async (directory) => {
      thread.unshare('mnt')
      thread.makePrivate('/', { recursive: true })
      thread.mount({ source: 'fancyproc', target: directory, type: 'tmpfs', data: 'mode=0700' })
      const names = ['lower:1', 'low,er\\2', 'upper,:', 'work', 'merged']
      for (const name of names) thread.mkdir(join(directory, name))
      const [one, two, upperdir, workdir, merged] = names.map((name) => join(directory, name))
      thread.writeFile(join(one, 'a'), 'one')
      thread.writeFile(join(two, 'a'), 'hidden')
      thread.writeFile(join(two, 'b'), 'two')
      const { overlayData } = await import('../../dist/lib/steps/index.js')
      thread.mount({
        source: 'o',
        target: merged,
        type: 'overlay',
        data: overlayData({ lowerdir: [one, two], upperdir, workdir }),
      })
      const [a, b] = ['a', 'b'].map((name) => readFileSync(join(merged, name), 'utf8'))
      writeFileSync(join(merged, 'c'), 'three')
      const bound = join(directory, 'bound')
      thread.mkdir(bound)
      thread.bind(merged, bound)
      thread.remount(bound, ['MS_BIND', 'MS_RDONLY'])
      const readOnly = refused(() => thread.mkdir(join(bound, 'd')))
      thread.mkdir(bound, 0o777, { ignore: ['EEXIST'] })
      const pool = await promises.readdir(directory)
      const seen = readFileSync('/proc/thread-self/mountinfo', 'utf8').includes(` ${directory} `)
      thread.umount2(bound)
      const again = refused(() => thread.umount2(bound))
      thread.umount2(merged)
      const c = readFileSync(join(upperdir, 'c'), 'utf8')
      thread.umount2(directory, 'MNT_DETACH')
      return { a, b, c, readOnly, again, pool, seen }
    })
  },
  setns() {
    const fd = thread.open('/proc/thread-self/ns/mnt')
    const net = thread.open('/proc/thread-self/ns/net')
    const before = own('net')
    thread.unshare('net')
    const apart = own('net')
    thread.setns(net, 'net')
    const shared = refused(() => thread.setns(fd, 'mnt'))
    thread.unshare('fs')
    thread.setns(fd, 'mnt')
    const wrong = refused(() => thread.setns(fd, 'net'))
    return { before, apart, after: own('net'), shared, wrong }
  },
  user() {
    return { refused: refused(() => thread.unshare('user')) }
  },
  unprivileged() {
    const namespace = own('mnt')
    return {
      refused: refused(() => thread.unshare('mnt')),
      same: own('mnt') === namespace,
      mount: refused(() => thread.mount({ source: 'none', target: '/tmp', type: 'tmpfs' })),
      host: refused(() => thread.sethostname('fancyproc-test')),
      groups: refused(() => thread.setgroups([])),
    }
  },
  async ids() {
    const said = await inWorker('ids')
    return {
      said,
      main: { uid: status('Uid'), gid: status('Gid'), groups: status('Groups'), euid: geteuid() },
    }
  },
  async privileges() {
    const said = await inWorker('privileges')
    return {
      said,
      main: { privileges: status('NoNewPrivs'), name: readFileSync('/proc/thread-self/comm', 'utf8').trim() },
    }
  },
  async worker() {
    const before = own('uts')
    const said = await inWorker('worker')
    return { before, said, after: own('uts'), name: hostname() }
  },
  open() {
    return scratch((directory) => {
      mkdirSync(join(directory, 'etc'))
      writeFileSync(join(directory, 'etc/inside'), 'inside')
      symlinkSync('/etc/inside', join(directory, 'link'))
      symlinkSync('../../../../etc/passwd', join(directory, 'out'))
      const root = thread.open(directory, ['O_PATH', 'O_DIRECTORY'])
      const link = thread.openat2('link', { dirfd: root, resolve: 'RESOLVE_IN_ROOT' })
      const text = readFileSync(link.fd, 'utf8')
      const flags = /^flags:\s*0(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${link.fd}`, 'utf8'))[1]
      const out = refused(() => thread.openat2('out', { dirfd: root, resolve: 'RESOLVE_BENEATH' }))
      thread.symlink('link', 'second', { dirfd: root })
      thread.mknod('fifo', 0o600, 'S_IFIFO', { dirfd: root })
      thread.writeFile('written', Uint8Array.of(0, 1, 2), { dirfd: root, mode: 0o600 })
      return {
        isFd: root instanceof Fd,
        text,
        cloexec: (parseInt(flags, 8) & 0o2000000) !== 0,
        out,
        second: readlinkSync(join(directory, 'second')),
        written: [...readFileSync(join(directory, 'written'))],
        nothing: refused(() => thread.open(join(directory, 'no', 'where'))),
        write: refused(() => thread.writeFile(join(directory, 'no', 'where'), '')),
        bind: refused(() => thread.bind(join(directory, 'a'), join(directory, 'b'))),
      }
    })
  },
}

const inside = {
  ids() {
    thread.setgroups([7, 8])
    thread.setresgid(1234, null, null)
    thread.setresuid(null, 4321, -1)
    return { uid: status('Uid'), gid: status('Gid'), groups: status('Groups').trim() }
  },
  privileges() {
    thread.setNoNewPrivs()
    thread.setName('fancy thread')
    return { privileges: status('NoNewPrivs'), name: readFileSync('/proc/thread-self/comm', 'utf8').trim() }
  },
  worker() {
    thread.unshare('uts')
    thread.sethostname('fancyproc-worker')
    return { namespace: own('uts'), name: hostname() }
  },
}

if (isMainThread) {
  const said = await scenarios[argv[2]]()
  process.stdout.write(JSON.stringify(said), () => exit())
} else {
  parentPort.postMessage(inside[workerData]())
}
