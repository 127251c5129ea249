// lifecycle.mjs SCENARIO [ARGUMENT]: lives and ends in some way, and prints what it saw as JSON.
import { existsSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { argv, exit } from 'node:process'
import { setImmediate } from 'node:timers'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'

// Not by a declaration: some scenarios are about which thread loads the addon first.
const load = async () => ({ ...(await import('fancyproc')), steps: await import('fancyproc/steps') })
const argument = argv[3]
const quiet = { stdio: 'ignore' }

async function until(condition) {
  while (!(await condition())) await sleep(5)
}
const gone = (pid) => !existsSync(`/proc/${pid}`)
const fds = async () => (await readdir('/proc/self/fd')).length

/** The pid of a child that waits in its steps, for someone to write to the FIFO. */
async function blocked({ spawn, steps }, fifo, before = [], program = 'true', args = []) {
  const self = steps.open('/proc/self', 'O_PATH')
  const { umask, mknod, sendFd, open } = steps
  const list = [umask(0), mknod(fifo, 0o666, 'S_IFIFO'), before, self, sendFd('self', self), open(fifo)]
  const child = spawn(program, args, { ...quiet, steps: list })
  await Promise.race([until(() => child.fds.self), child.exited])
  return Number(basename(readlinkSync(`/proc/self/fd/${child.fds.self.fd}`)))
}

function startWorker(name) {
  const worker = new Worker(fileURLToPath(import.meta.url), { workerData: { name, argument } })
  const said = new Promise((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
  const ended = new Promise((resolve) => worker.once('exit', resolve))
  return { worker, said, ended }
}

/** Children of a Worker that has ended: alive, and reaped when they end, though nobody is told. */
async function survivors({ pids, waiting, fifo, mark }) {
  const alive = pids.map((pid) => !gone(pid))
  for (const pid of pids) process.kill(pid, 'SIGKILL')
  writeFileSync(fifo, '')
  await until(() => pids.every(gone) && gone(waiting))
  return { alive, waited: existsSync(mark) }
}

const scenarios = {
  async first() {
    const said = []
    for (let i = 0; i < 2; i++) {
      const { said: message, ended } = startWorker('echo')
      said.push(await message)
      await ended
    }
    const { run } = await load()
    said.push((await run('echo', ['main'])).stdout)
    return said
  },
  async concurrent() {
    const workers = Array.from({ length: 4 }, () => startWorker('many'))
    const { run } = await load()
    const here = await Promise.all(Array.from({ length: 20 }, () => run('sh', ['-c', 'exit 5'])))
    const there = await Promise.all(workers.map(({ said }) => said))
    await Promise.all(workers.map(({ ended }) => ended))
    return [...there.flat(), ...here.map(({ code }) => code)]
  },
  async terminated() {
    const { worker, said } = startWorker('leave')
    const left = await said
    await worker.terminate()
    return survivors(left)
  },
  async exited() {
    const { said, ended } = startWorker('exit')
    const left = await said
    const code = await ended
    return { ...(await survivors(left)), code }
  },
  async held() {
    const { worker, said } = startWorker('held')
    const { tool, child } = await said
    await worker.terminate()
    await until(() => gone(child))
    process.kill(tool, 'SIGKILL')
    await until(() => gone(tool))
    return { tool, child }
  },
  async collected() {
    const { spawn } = await load()
    const warnings = []
    process.on('warning', ({ message }) => warnings.push(message))
    await spawn('true', [], quiet).exited
    const before = await fds()
    const weak = []
    for (let i = 0; i < 20; i++) {
      const child = spawn('cat')
      if (!(await child.spawned).pidfd) throw new Error('no pidfd')
      child.stdin.end()
      await new Promise((resolve) => child.once('close', resolve))
      weak.push(new WeakRef(child))
    }
    await until(() => (globalThis.gc(), weak.every((ref) => !ref.deref())))
    await until(async () => (globalThis.gc(), (await fds()) === before))
    return warnings
  },
  async forgotten() {
    const { spawn } = await load()
    const told = new Promise((resolve) =>
      spawn('sh', ['-c', 'read line'], { stdio: ['pipe', 'ignore', 'ignore'] })
        .once('exit', resolve)
        .stdin.end('\n'),
    )
    for (let i = 0; i < 5; i++) globalThis.gc()
    return [await told]
  },
  /** With 64 descriptors for itself. */
  async full() {
    const { run, spawn, steps } = await load()
    await run('true')
    const self = steps.open('/proc/self', 'O_PATH')
    const many = Array.from({ length: 192 }, (_, i) => steps.sendFd(String(i), self))
    const said = []
    for (const list of [
      [self, many],
      [steps.unshare('user'), steps.clone(), self, many],
    ]) {
      const before = await fds()
      const child = spawn('sleep', ['100'], { ...quiet, steps: list })
      said.push(await child.exited.catch(({ code, syscall }) => `${syscall} ${code}`))
      await until(async () => (await fds()) === before)
    }
    return [...said, (await run('echo', ['on'])).stdout]
  },
  async unref() {
    const { spawn } = await load()
    const child = spawn('sleep', ['100'], quiet)
    await child.spawned
    child.unref()
    return child.pid
  },
  async ref() {
    const { spawn } = await load()
    const child = spawn('sleep', ['0.1'], quiet)
    child.unref()
    child.ref()
    child.once('exit', (code) => process.stdout.write(`${JSON.stringify(code)}\n`))
  },
  /** Prints pids of a child that runs and of some that are in their setup, then exits or waits to be killed. */
  async leave() {
    const fancy = await load()
    const { spawn, steps } = fancy
    const running = await spawn('sleep', ['100'], quiet).spawned
    const cloned = [steps.unshare('user'), steps.mapUser(), steps.clone('pid')]
    const setup = [await blocked(fancy, join(argument, 'plain'))]
    if (process.getuid() === 0) {
      const user = [steps.setgroups([]), steps.setresgid(12345), steps.setresuid(12345)]
      setup.push(await blocked(fancy, join(argument, 'user'), user))
    }
    if (argv[4] === 'clone') setup.push(await blocked(fancy, join(argument, 'clone'), cloned))
    process.stdout.write(`${JSON.stringify({ running: running.pid, setup })}\n`, () => {
      if (argv[5] === 'exit') exit(7)
    })
    await sleep(1 << 30)
  },
  /** The C library changes the ids of all threads, and waits for each. */
  async setuid() {
    const fancy = await load()
    const { run, steps } = fancy
    await Promise.all(Array.from({ length: 8 }, () => run('true')))
    await blocked(fancy, join(argument, 'fifo'))
    process.setgroups([])
    process.setgid(12345)
    process.setuid(12345)
    const id = async (options) =>
      (await run('sh', ['-c', 'id -u; id -g'], options)).stdout.split('\n').slice(0, 2)
    const said = {
      owner: statSync('/proc/self/status').uid,
      plain: await id({}),
      mapped: await id({ namespaces: ['user', 'pid'], steps: steps.mapUser() }),
      cloned: await id({
        steps: [steps.unshare('user'), steps.mapUser({ uid: 3, gid: 4 }), steps.clone('pid')],
      }),
    }
    writeFileSync(join(argument, 'fifo'), '')
    return said
  },
}

const inWorker = {
  async echo() {
    const { run } = await load()
    parentPort.postMessage((await run('echo', ['worker'])).stdout)
  },
  async many() {
    const { run } = await load()
    const ends = await Promise.all(Array.from({ length: 20 }, () => run('sh', ['-c', 'exit 5'])))
    parentPort.postMessage(ends.map(({ code }) => code))
  },
  async leave() {
    const fancy = await load()
    const fifo = join(workerData.argument, 'fifo')
    const mark = join(workerData.argument, 'mark')
    const children = [1, 2, 3].map(() => fancy.spawn('sleep', ['100']))
    await Promise.all(children.map((child) => child.spawned))
    const waiting = await blocked(fancy, fifo, [], 'touch', [mark])
    parentPort.postMessage({ pids: children.map(({ pid }) => pid), waiting, fifo, mark })
    await sleep(1 << 30)
  },
  async exit() {
    void inWorker.leave()
    // Until the message is sent.
    const { postMessage } = parentPort
    parentPort.postMessage = (message) => {
      postMessage.call(parentPort, message)
      setImmediate(() => exit(3))
    }
  },
  async held() {
    const { spawn, steps } = await load()
    const outside = process.getuid()
    const ranges = [
      { inside: 0, outside, count: 1 },
      { inside: 1, outside: 100_000, count: 1 },
    ]
    spawn('true', [], { namespaces: ['user'], steps: [steps.uidMap(ranges)] })
    const file = join(process.env.PATH.split(':')[0], 'pids')
    await until(() => existsSync(file))
    const [tool, child] = readFileSync(file, 'latin1').split(' ').map(Number)
    parentPort.postMessage({ tool, child })
  },
}

if (isMainThread) {
  const said = await scenarios[argv[2]]()
  if (said !== undefined) process.stdout.write(`${JSON.stringify(said)}\n`)
} else {
  await inWorker[workerData.name]()
}
