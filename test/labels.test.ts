// SELinux contexts that steps set: the kernel is asked for those of what they made.
import { expect } from '@jest/globals'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { Worker } from 'node:worker_threads'
import { run, selinux, spawn } from 'fancyproc'
import * as thread from 'fancyproc/thread'
import {
  joinSessionKeyring,
  makePrivate,
  mkdir,
  mknod,
  mount,
  open,
  prctl,
  setcon,
  setexeccon,
  setfscreatecon,
  setkeycreatecon,
  setPdeathsig,
  setsockcreatecon,
  type Steps,
  symlink,
  writeFile,
} from 'fancyproc/steps'
import { command, script } from './support/fork.ts'
import { isolated, rights } from './support/isolated.ts'
import { on } from './support/machine.ts'
import { begun, blocked, scratch } from './support/scratch.ts'

const path = scratch()
const here = on({ lsm: 'selinux' })

const domain = 'system_u:system_r:container_t:s0:c1,c2'
const files = 'system_u:object_r:container_file_t:s0:c1,c2'
const others = 'system_u:object_r:container_file_t:s0:c3,c4'

const attribute = (pid: number | string, name: string): string =>
  readFileSync(`/proc/${String(pid)}/attr/${name}`, 'utf8').replace(/\0$/, '')

/** Of the file itself, or of what a link of /proc stands for. */
function labelOf(file: string, ...options: string[]): string {
  const { stdout, stderr } = spawnSync('stat', [...options, '--printf=%C', file], { encoding: 'utf8' })
  expect(stderr).toBe('')
  return stdout
}

here.test('each attribute is set, and null clears it', async () => {
  const labels = [
    setexeccon(domain), setfscreatecon(files), setkeycreatecon(domain), setsockcreatecon(domain),
  ] // prettier-ignore
  const names = ['exec', 'fscreate', 'keycreate', 'sockcreate']
  const seen = async (...steps: Steps[]): Promise<string[]> => {
    await using child = spawn('true', { steps: [steps, blocked(path(`fifo${String(steps.length)}`))] })
    const pid = await begun(child)
    const seen = names.map((name) => attribute(pid, name))
    // As the library reads them of any process.
    const read = selinux.getpidattr(pid)
    expect([read.exec, read.fscreate, read.keycreate, read.sockcreate].map((one) => one ?? '')).toEqual(seen)
    return seen
  }
  expect(await seen(labels)).toEqual([domain, files, domain, domain])
  const cleared = [setexeccon, setfscreatecon, setkeycreatecon, setsockcreatecon].map((set) => set(null))
  expect(await seen(labels, cleared)).toEqual(['', '', '', ''])
})

here.test('files have the context of setfscreatecon, until it is cleared', async () => {
  const made = path('made')
  const step = open(`${made}/opened`, ['O_CREAT', 'O_WRONLY'], 0o600)
  await run('true', [], {
    steps: [
      setfscreatecon(files),
      [mkdir(made), writeFile(`${made}/written`, ''), symlink('x', `${made}/link`), step],
      mknod(`${made}/fifo`, 0o600, 'S_IFIFO'),
      setfscreatecon(others),
      writeFile(`${made}/other`, ''),
      setfscreatecon(null),
      writeFile(`${made}/inherited`, ''),
    ],
  })
  const names = ['', 'written', 'link', 'opened', 'fifo', 'other', 'inherited']
  const [level] = /s0.*$/.exec(selinux.getcon()) ?? []
  expect(names.map((name) => labelOf(`${made}/${name}`))).toEqual([
    files, files, files, files, files, others,
    // Type of the directory, user and level of who makes it.
    `${selinux.getcon().split(':')[0] ?? ''}:object_r:container_file_t:${level ?? ''}`,
  ]) // prettier-ignore
})

here.test('none of it outlives execve, but what setexeccon has chosen', async () => {
  const steps = [setfscreatecon(files), setkeycreatecon(domain), setsockcreatecon(domain)]
  await using child = await spawn('sleep', ['1000'], { steps }).spawned
  const names = ['exec', 'fscreate', 'keycreate', 'sockcreate', 'current']
  expect(names.map((name) => attribute(child.pid!, name))).toEqual(['', '', '', '', selinux.getcon()])
})

// Debian's perl-base is part of every system.
const securityOfSessionKeyring = `
  my $label = "\\0" x 200;
  my $length = syscall(${process.arch === 'x64' ? '250' : '219'}, 17, -3, $label, 200);
  print $length < 0 ? "$!" : substr($label, 0, $length - 1)`

here.test('a keyring has the context of setkeycreatecon', async () => {
  const keyring = async (...steps: Steps[]): Promise<string> => {
    const { stdout } = await run('perl', ['-e', securityOfSessionKeyring], { steps })
    return stdout
  }
  expect(await keyring(setkeycreatecon(domain), joinSessionKeyring())).toBe(domain)
  expect(await keyring(joinSessionKeyring())).toBe(selinux.getcon())
})

here.test('a socket has the context of setsockcreatecon, on the thread that makes it', async () => {
  const label = selinux.getcon().replace(/unconfined_t.*/, 'unconfined_t:s0:c7')
  const sockets = async (): Promise<string[]> => {
    await using child = await spawn('sleep', ['1000'], { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] })
      .spawned
    const ours = (child.stdio[3] as Socket & { _handle: { fd: number } })._handle.fd
    return [`/proc/self/fd/${String(ours)}`, `/proc/${String(child.pid)}/fd/3`].map((file) =>
      labelOf(file.replace('self', String(process.pid)), '--dereference'),
    )
  }
  thread.setsockcreatecon(label)
  try {
    expect(attribute('thread-self', 'sockcreate')).toBe(label)
    expect(await sockets()).toEqual([label, label])
  } finally {
    thread.setsockcreatecon(null)
  }
  expect(await sockets()).toEqual([selinux.getcon(), selinux.getcon()])
})

here.test('a thread: files and keyrings that it makes, and no one else', async () => {
  thread.setfscreatecon(files)
  try {
    writeFileSync(path('sync'), '')
    await run('true', [], { steps: [writeFile(path('step'), '')] })
  } finally {
    thread.setfscreatecon(null)
  }
  writeFileSync(path('after'), '')
  expect(labelOf(path('sync'))).toBe(files)
  expect(labelOf(path('step'))).toBe(labelOf(path('after')))
  expect(labelOf(path('after'))).not.toBe(files)
  thread.setkeycreatecon(domain)
  expect(attribute('thread-self', 'keycreate')).toBe(domain)
  thread.setkeycreatecon(null)
  expect(attribute('thread-self', 'keycreate')).toBe('')
})

here.test("a thread's exec label that was left set meets the next execve", () => {
  thread.setexeccon('system_u:system_r:init_t:s0')
  try {
    expect(spawnSync('true').error).toMatchObject({ code: 'EACCES' })
  } finally {
    thread.setexeccon(null)
  }
  expect(spawnSync('true').status).toBe(0)
})

/** A program that may be executed in the domain. */
function entrypoint(): string {
  const program = path('busybox')
  thread.setfscreatecon(files)
  try {
    if (!existsSync(program)) copyFileSync('/usr/bin/busybox', program)
  } finally {
    thread.setfscreatecon(null)
  }
  return program
}

on({ lsm: 'selinux', tools: 'busybox' }).test("a thread's exec label is that of the next program", () => {
  const program = entrypoint()
  const child = (): string =>
    spawnSync(program, ['cat', '/proc/self/attr/current'], { encoding: 'utf8' }).stdout.replace(/\0$/, '')
  expect(child()).toBe(selinux.getcon())
  thread.setexeccon(domain)
  try {
    expect(selinux.getexeccon()).toBe(domain)
    expect(child()).toBe(domain)
  } finally {
    thread.setexeccon(null)
  }
  expect(child()).toBe(selinux.getcon())
})

// The kernel takes /proc/PID/task/TID/attr/keycreate from any thread, and so does lsm_set_self_attr(2).
here.test('a Worker has key and socket labels of its own', async () => {
  const text = `
    const { parentPort } = require('node:worker_threads')
    Promise.all([import('fancyproc/thread'), import('fancyproc')]).then(([thread, { selinux }]) => {
      thread.setkeycreatecon('${domain}')
      thread.setsockcreatecon('${domain}')
      parentPort.postMessage([selinux.getkeycreatecon(), selinux.getsockcreatecon()])
    })`
  const worker = new Worker(text, { eval: true })
  const [said] = (await once(worker, 'message')) as [unknown]
  await worker.terminate()
  expect(said).toEqual([domain, domain])
  expect([selinux.getkeycreatecon(), selinux.getsockcreatecon()]).toEqual([null, null])
})

here.test(
  'setcon: later steps are in the new domain, and so is the program; prev is the old one',
  async () => {
    const { stdout } = await run('cat', ['/proc/self/attr/current', '/proc/self/attr/prev'], {
      steps: [setcon(domain)],
    })
    expect(stdout.split('\0')).toEqual([domain, domain, ''])
    // It is no entrypoint that makes an unconfined process, but execve that replaces one.
    const child = await run('cat', ['/proc/self/attr/prev'])
    expect(child.stdout).toBe(`${selinux.getcon()}\0`)
    const refused = run('true', [], { steps: [setcon(domain), writeFile(path('denied'), '')] })
    await expect(refused).rejects.toMatchObject({ code: 'EACCES', syscall: 'openat', step: 1 })
  },
)

const deathSignal = `my $signal = pack 'i', 99; syscall(${process.arch === 'x64' ? '157' : '167'}, 2, $signal); print unpack 'i', $signal`

// Why steps that set both are refused (lib/steps/order.ts). Nothing of ours has a part in this.
on({ lsm: 'selinux', tools: ['setpriv', 'runcon'] }).test(
  'the kernel clears the parent-death signal at an execve that changes the label, and at no other',
  () => {
    const signal = (...as: string[]): string => {
      const args = ['--pdeathsig', 'USR1', ...as, 'perl', '-e', deathSignal]
      return spawnSync('setpriv', args, { encoding: 'utf8' }).stdout
    }
    expect(signal()).toBe('10')
    expect(signal('runcon', '-l', 's0:c5')).toBe('0')
  },
)

here.test('setcon keeps the parent-death signal', async () => {
  const { stdout } = await run('perl', ['-e', deathSignal], {
    steps: [setPdeathsig('SIGUSR1'), setcon(domain)],
  })
  expect(stdout).toBe('10')
})

here.test('what policy or kernel refuse is told with the permission', async () => {
  const fails = (...steps: Steps[]): Promise<unknown> =>
    run('true', [], { steps }).catch((error: unknown) => error)
  const nonsense = [setexeccon, setfscreatecon, setkeycreatecon, setsockcreatecon, setcon]
  for (const set of nonsense) {
    const step = set('nobody_u:nobody_r:nobody_t:s0')
    const syscall = step.calls.length === 1 ? 'lsm_set_self_attr' : 'write'
    expect(await fails(prctl('PR_SET_DUMPABLE', 1), step)).toMatchObject({
      code: 'EINVAL',
      syscall,
      step: 1,
      path: 'nobody_u:nobody_r:nobody_t:s0',
      hint: expect.stringContaining('the loaded policy knows no such context') as unknown,
    })
  }
  expect(await fails(setcon('system_u:system_r:init_t:s0'))).toMatchObject({
    code: 'EACCES',
    hint: expect.stringContaining('dyntransition') as unknown,
  })
  expect(() => {
    thread.setcon(domain)
  }).toThrow(/^EPERM: .*\n.*typebounds/)
})

// CVE-2019-16884: an image's own /proc takes what is written there, and no label is set.
on({ lsm: 'selinux', tools: 'busybox', ...rights }).test(
  'what the sandbox has in the place of /proc does not keep labels from being set',
  async () => {
    const attributes = '/proc/thread-self/attr'
    const covered = [
      makePrivate('/', { recursive: true }),
      mount({ source: 'none', target: '/proc', type: 'tmpfs' }),
      [mkdir('/proc/thread-self'), mkdir(attributes)],
      ['exec', 'fscreate'].map((name) => writeFile(`${attributes}/${name}`, '', { flags: ['O_CREAT'] })),
    ]
    const [one, two] = [path('covered'), path('uncovered')]
    const made = [setfscreatecon(files), writeFile(one, ''), setfscreatecon(null), writeFile(two, '')]
    const options = isolated(['mnt'], covered, made, setexeccon(domain))
    await using child = await spawn(entrypoint(), ['sleep', '1000'], options).spawned
    expect(attribute(child.pid!, 'current')).toBe(domain)
    expect([labelOf(one), labelOf(two)]).toEqual([files, expect.not.stringContaining('container_file_t')])
  },
)

const tracer = on({ lsm: 'selinux', tools: 'strace', kernel: '6.8', sanitizer: false, ...rights })
tracer.test('a kernel without lsm_set_self_attr has the files of /proc', async () => {
  const program = `
    import { spawn } from 'fancyproc'
    import { makePrivate, mapUser, mount, setfscreatecon, writeFile } from 'fancyproc/steps'
    import { selinux } from 'fancyproc'
    import * as thread from 'fancyproc/thread'
    const [, label, ...files] = process.argv
    thread.setfscreatecon(label)
    console.log(selinux.getfscreatecon(), selinux.getcon(), selinux.getprevcon())
    thread.setfscreatecon(null)
    console.log(selinux.getfscreatecon())
    const steps = [setfscreatecon(label), writeFile(files[0], ''), setfscreatecon(null), writeFile(files[1], '')]
    // With another /proc by then, which is no procfs.
    const isRoot = process.getuid() === 0
    const own = [isRoot ? [] : mapUser(), makePrivate('/', { recursive: true })]
    const covered = [...own, mount({ source: 'none', target: '/proc', type: 'tmpfs' })]
    const namespaces = isRoot ? ['mnt'] : ['user', 'mnt']
    console.log((await spawn('true', { namespaces, steps: [...covered, ...steps] }).exited).code)`
  const [one, two, trace] = [path('labelled'), path('plain'), path('trace')]
  const calls = 'lsm_set_self_attr,lsm_get_self_attr'
  const inject = ['-e', `trace=${calls},write`, '-e', `inject=${calls}:error=ENOSYS`]
  const { stdout } = await command('strace', [
    ...['-f', '-o', trace, ...inject, process.execPath],
    ...[...script(program), files, one, two],
  ])
  const [own] = [selinux.getcon()]
  expect(stdout).toBe(`${files} ${own} ${own}\nnull\n0\n`)
  expect([labelOf(one), labelOf(two)]).toEqual([files, expect.not.stringContaining('container_file_t')])
  const text = readFileSync(trace, 'utf8')
  // Two of a thread, two of steps; four of a thread, which reads.
  expect(text.match(/lsm_set_self_attr\(.*ENOSYS.*INJECTED/g)).toHaveLength(4)
  expect(text.match(/lsm_get_self_attr\(.*ENOSYS.*INJECTED/g)).toHaveLength(4)
  expect(text).toMatch(/write\(\d+, "\\n", 1\) += 1/)
})
