// Programs in another SELinux domain: with what they are given, and why they don't start.
import { afterAll, beforeAll, expect } from '@jest/globals'
import { spawnSync } from 'node:child_process'
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { text } from 'node:stream/consumers'
import { type KernelError, run, selinux, spawn, type SpawnOptions } from 'fancyproc'
import {
  childFd,
  close,
  dup,
  makePrivate,
  mkdir,
  mknod,
  mount,
  openpty,
  setcon,
  setexeccon,
  setfscreatecon as setfscreateconStep,
  setNoNewPrivs,
  type Step,
  writeFile,
} from 'fancyproc/steps'
import { setexeccon as setexecconNow, setfscreatecon, setsockcreatecon } from 'fancyproc/thread'
import { command, script } from './support/fork.ts'
import { isolated, rights } from './support/isolated.ts'
import { on, patient, unmet } from './support/machine.ts'
import { scratch } from './support/scratch.ts'
import { leaks, settled } from './support/state.ts'

const path = scratch()
const machine = { lsm: 'selinux', tools: 'busybox' } as const
const here = on(machine)

const domain = 'system_u:system_r:container_t:s0:c1,c2'
const files = 'system_u:object_r:container_file_t:s0:c1,c2'
const others = 'system_u:object_r:container_file_t:s0:c3,c4'
/** What would have begun it. */
const instead = `; as ${files} it could be (selinux.relabel)`
const permissive = domain.replace('container_t', 'container_kvm_t')
const onNosuid = `/dev/shm/fancyproc-ldconfig-${String(process.pid)}`

/** What it makes has a label. */
function labelled<T>(context: string, make: () => T): T {
  setfscreatecon(context)
  try {
    return make()
  } finally {
    setfscreatecon(null)
  }
}

if (unmet(machine) === undefined) {
  beforeAll(() => {
    labelled(files, () => {
      copyFileSync('/usr/bin/busybox', path('busybox'))
    })
    labelled('system_u:object_r:ldconfig_exec_t:s0', () => {
      copyFileSync('/usr/bin/busybox', onNosuid)
    })
  })
  afterAll(() => {
    rmSync(onNosuid)
  })
}

const busybox = (args: string[], options: SpawnOptions): ReturnType<typeof run> =>
  run(path('busybox'), args, options)

async function refused(file: string, options: SpawnOptions): Promise<KernelError> {
  const error = await run(file, [], { stdio: 'ignore', ...options }).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(Error)
  return error as KernelError
}

here.test('has the pipes that it was given', async () => {
  const options = { steps: [setexeccon(domain)], input: 'in\n' }
  expect(await busybox(['cat', '/proc/self/attr/current', '-'], options)).toMatchObject({
    code: 0,
    stdout: `${domain}\0in\n`,
  })
})

/** A descriptor of a new file, as number 1. */
function writingTo(
  context: string | undefined,
  flags: string,
  ...steps: Step[]
): { file: string; done: Promise<unknown> } {
  const file = path(`file${flags}${String(Math.random())}`)
  const fd = context === undefined ? openSync(file, flags) : labelled(context, () => openSync(file, flags))
  const done = busybox(['echo', 'written'], { stdio: ['ignore', fd, 'ignore'], steps })
  closeSync(fd)
  return { file, done: done.catch((error: unknown) => error) }
}

here.test(
  'is refused before it starts, if it could not write to what it was given: the rule that is lacking',
  async () => {
    const { file, done } = writingTo(undefined, 'w', mkdir(path('begun')), setexeccon(domain))
    expect(await done).toMatchObject({
      name: 'KernelError',
      code: 'EACCES',
      syscall: 'execve',
      step: 1,
      path: path('busybox'),
    })
    const { hint } = (await done) as KernelError
    expect(hint).toContain(`${domain} may not use what it is given`)
    expect(hint).toMatch(
      /\n {2}descriptor 1: \{write\} of file \S+:user_tmp_t:s0: the policy needs \(allow container_t user_tmp_t \(file \(write\)\)\)$/,
    )
    expect(hint).toMatch(/^[^\n]*\n[^\n]*$/)
    expect(existsSync(path('begun'))).toBe(false)
    expect(readFileSync(file, 'utf8')).toBe('')
  },
)

here.test('the kernel itself says nothing: the program starts, and is mute', () => {
  const echo = (context?: string): unknown => {
    const file = path(`mute${String(context)}`)
    const fd = context === undefined ? openSync(file, 'w') : labelled(context, () => openSync(file, 'w'))
    setexecconNow(domain)
    try {
      const { status } = spawnSync(path('busybox'), ['echo', 'written'], { stdio: ['ignore', fd, 'ignore'] })
      return [status, readFileSync(file, 'utf8')]
    } finally {
      setexecconNow(null)
      closeSync(fd)
    }
  }
  expect(echo(files)).toEqual([0, 'written\n'])
  expect(echo()).toEqual([0, ''])
})

const level = (context: string): string => context.replace(/s0$/, 's0:c9')
const dominates = 'level s0:c1,c2 does not dominate s0:c9'

here.test('a FIFO of another level is refused; nothing is left', async () => {
  const fifo = path('fifo')
  const context = 'system_u:object_r:container_file_t:s0:c9'
  await run('true', [], { steps: [setfscreateconStep(context), mknod(fifo, 0o600, 'S_IFIFO')] })
  const fd = openSync(fifo, 'r+')
  const before = leaks()
  const options = { stdio: [fd, 'ignore', 'ignore'] as const, steps: [setexeccon(domain)] }
  const error = await refused(path('busybox'), options)
  expect(error).toMatchObject({ code: 'EACCES', syscall: 'execve', step: 0 })
  expect(error.hint).toMatch(
    new RegExp(`\n {2}descriptor 0: \\{read write\\} of fifo_file ${context}: ${dominates}$`),
  )
  expect(await settled(before)).toEqual(before)
  closeSync(fd)
})

here.test('a socket may be used; one of another level is refused, and nothing is left', async () => {
  const options = {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'] as const,
    steps: [setexeccon(domain)],
  }
  await run('true', [])
  const context = level(selinux.getcon())
  const before = leaks()
  setsockcreatecon(context)
  const start = refused(path('busybox'), options)
  setsockcreatecon(null)
  const error = await start
  expect(error).toMatchObject({ code: 'EACCES', syscall: 'execve', step: 0 })
  expect(error.hint).toMatch(
    new RegExp(`\n {2}descriptor 3: \\{read write\\} of unix_stream_socket ${context}: ${dominates}$`),
  )
  expect(await settled(before)).toEqual(before)
  const child = spawn(path('busybox'), ['sh', '-c', 'echo written >&3'], options)
  expect(await text(child.stdio[3] as NodeJS.ReadableStream)).toBe('written\n')
  expect((await child.exited).code).toBe(0)
})

here.test('a terminal of our devpts may be used', async () => {
  expect((await busybox(['tty'], { steps: [setexeccon(domain)], stdio: 'pty' })).stdout).toMatch(
    /^\/dev\/pts\/\d+\r\n$/,
  )
})

on({ ...machine, tools: ['busybox', 'runcon'] }).test(
  'pipes and terminals of a parent at another level are refused; nothing is left',
  async () => {
    const program = `
      import { readdirSync } from 'node:fs'
      import { run, selinux } from 'fancyproc'
      import { setexeccon } from 'fancyproc/steps'
      await run('true', [])
      const fds = () => readdirSync('/proc/self/fd').length
      const before = fds()
      const said = []
      for (const stdio of ['pipe', 'pty']) {
        const error = await run('${path('busybox')}', ['true'], { stdio, steps: [setexeccon('${domain}')] }).catch((e) => e)
        said.push([error.code, error.hint?.split('\\n').slice(1)])
      }
      const end = Date.now() + ${String(patient(2000))}
      while (fds() !== before && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 10))
      console.log(JSON.stringify([selinux.getcon(), said, fds() - before]))`
    const { stdout, stderr } = await command('runcon', ['-l', 's0:c9', process.execPath, ...script(program)])
    expect(stderr).toBe('')
    const own = level(selinux.getcon())
    const terminal = selinux.computeCreate(own, 'system_u:object_r:devpts_t:s0', 'chr_file')
    const elsewhere = ', or a terminal of a devpts that is mounted with a context it may use'
    const pipe = (fd: number, permission: string): string =>
      `  descriptor ${String(fd)}: {${permission}} of fifo_file ${own}: ${dominates}`
    const pty = (fd: number): string =>
      `  descriptor ${String(fd)}: {read write} of chr_file ${terminal}: ${dominates}${elsewhere}`
    expect(JSON.parse(stdout)).toEqual([
      own,
      [
        ['EACCES', [pipe(0, 'read'), pipe(1, 'write'), pipe(2, 'write')]],
        ['EACCES', [pty(0), pty(1), pty(2)]],
      ],
      0,
    ])
  },
)

// scripts/vm/guest/tests.cil has the boolean, the type, and that containers may use it while the boolean is true.
on({ ...machine, user: 'root' }).test('answers are those of the policy as it is now', async () => {
  const boolean = async (): Promise<unknown> => (await selinux.booleans())['fancyproc_test']
  const set = (value: '0' | '1'): void => {
    writeFileSync('/sys/fs/selinux/booleans/fancyproc_test', value)
  }
  const commit = (): void => {
    writeFileSync('/sys/fs/selinux/commit_pending_bools', '1')
  }
  const start = (): { file: string; done: Promise<unknown> } =>
    writingTo('system_u:object_r:fancyproc_test_t:s0', 'w', setexeccon(domain))
  const refusal = {
    code: 'EACCES',
    hint: expect.stringContaining('(allow container_t fancyproc_test_t (file (write)))') as unknown,
  }
  expect(await boolean()).toEqual({ current: false, pending: false })
  expect(await start().done).toMatchObject(refusal)
  try {
    set('1')
    expect(await boolean()).toEqual({ current: false, pending: true })
    expect(await start().done).toMatchObject(refusal)
    commit()
    expect(await boolean()).toEqual({ current: true, pending: true })
    const { file, done } = start()
    expect(await done).toMatchObject({ code: 0 })
    expect(readFileSync(file, 'utf8')).toBe('written\n')
  } finally {
    set('0')
    commit()
  }
  expect(await boolean()).toEqual({ current: false, pending: false })
  expect(await start().done).toMatchObject(refusal)
})

here.test('what is asked is what the descriptor is open for', async () => {
  const fd = openSync(path('both'), 'w+')
  const options = { stdio: [fd, 'ignore', 'ignore', fd] as const, steps: [setexeccon(domain)] }
  expect((await refused(path('busybox'), options)).hint).toMatch(
    /descriptor 0: \{read write\} of .*\n.*descriptor 3: \{read write\} of /,
  )
  closeSync(fd)
  const { done } = writingTo(undefined, 'a', setexeccon(domain))
  expect(await done).toMatchObject({ hint: expect.stringContaining('{append} of file') as unknown })
})

here.test('a file with a label of its own is written to; one of other categories is not', async () => {
  const own = writingTo(files, 'w', setexeccon(domain))
  expect(await own.done).toMatchObject({ code: 0 })
  expect(readFileSync(own.file, 'utf8')).toBe('written\n')
  const other = writingTo(others, 'w', setexeccon(domain))
  expect(await other.done).toMatchObject({
    code: 'EACCES',
    hint: expect.stringContaining(
      `{write} of file ${others}: level s0:c1,c2 does not dominate s0:c3,c4`,
    ) as unknown,
  })
})

here.test('descriptors of dup steps count, closed ones and those of a cleared label do not', async () => {
  const fd = openSync(path('dupped'), 'w')
  const steps = [dup(fd, 7), dup(childFd(7), 8), setexeccon(domain)]
  const { hint } = await refused(path('busybox'), { steps })
  expect(hint).toMatch(/descriptor 7: .*\n.*descriptor 8: /)
  const { code } = await busybox(['true'], {
    stdio: ['ignore', 'ignore', 'ignore', fd],
    steps: [dup(fd, 7), close(3), close(7), dup(fd, 9, 'O_CLOEXEC'), setexeccon(domain)],
  })
  expect(code).toBe(0)
  expect(
    await run('true', [], { stdio: ['ignore', fd], steps: [setexeccon(domain), setexeccon(null)] }),
  ).toMatchObject({ code: 0 })
  closeSync(fd)
})

here.test('setcon is asked for as well: what it may not use fails when it is used', async () => {
  const { done } = writingTo(undefined, 'w', setcon(domain))
  expect(await done).toMatchObject({ code: 'EACCES', step: 0 })
})

here.test('a domain in which nothing is enforced is refused nothing', async () => {
  const { file, done } = writingTo(undefined, 'w', setexeccon(permissive))
  expect(await done).toMatchObject({ code: 0 })
  expect(readFileSync(file, 'utf8')).toBe('written\n')
})

on({ ...machine, ...rights }).test(
  'a terminal of a devpts: with its context, or with one that it may not use',
  async () => {
    const pts = path('pts')
    const steps = (context: string): Step[] => [
      makePrivate('/', { recursive: true }),
      mkdir(pts, 0o755, { ignore: ['EEXIST'] }),
      mount({ source: 'devpts', target: pts, type: 'devpts', data: 'newinstance,ptmxmode=0666', context }),
      ...openpty(`${pts}/ptmx`),
      setexeccon(domain),
    ]
    const start = (context: string): ReturnType<typeof run> =>
      busybox(['tty'], { ...isolated(['mnt'], steps(context)), stdio: 'pty' })
    expect((await start(files)).stdout).toMatch(/tty|\//)
    await expect(start(others)).rejects.toMatchObject({
      code: 'EACCES',
      hint: expect.stringMatching(
        /descriptor 2: \{read write\} of chr_file .*c3,c4: level .*, or a terminal of a devpts/,
      ) as unknown,
    })
  },
)

here.test('an execve that fails says which permission, and what label the file has', async () => {
  const entrypoint = await refused('/usr/bin/cat', { steps: [setexeccon(domain)] })
  expect(entrypoint).toMatchObject({ code: 'EACCES', syscall: 'execve' })
  expect(entrypoint.hint).toBe(
    `SELinux refuses file:entrypoint of ${domain} to system_u:object_r:bin_t:s0: ` +
      `the policy needs (allow container_t bin_t (file (entrypoint))); /usr/bin/cat is system_u:object_r:bin_t:s0${instead}`,
  )
  const transition = await refused('/usr/bin/cat', { steps: [setexeccon('system_u:system_r:passwd_t:s0')] })
  expect(transition.hint).toContain('(allow unconfined_t passwd_t (process (transition)))')
})

const ldconfig = 'unconfined_u:unconfined_r:ldconfig_t:s0'

here.test('no_new_privs and nosuid are told apart', async () => {
  const nnp = await refused('/usr/sbin/ldconfig', { steps: [setNoNewPrivs(), setexeccon(ldconfig)] })
  expect(nnp).toMatchObject({ code: 'EPERM', syscall: 'execve' })
  expect(nnp.hint).toContain('(allow unconfined_t ldconfig_t (process2 (nnp_transition)))')
  const nosuid = await refused(onNosuid, { steps: [setexeccon(ldconfig)] })
  expect(nosuid).toMatchObject({ code: 'EACCES', syscall: 'execve' })
  expect(nosuid.hint).toContain('(allow unconfined_t ldconfig_t (process2 (nosuid_transition)))')
  expect(await busybox(['true'], { steps: [setNoNewPrivs(), setexeccon(domain)] })).toMatchObject({ code: 0 })
})

on({ ...machine, ...rights }).test(
  'in a root that the steps made it is the label that the child met there',
  async () => {
    const own = makePrivate('/', { recursive: true })
    const bin = 'system_u:object_r:bin_t:s0'
    for (const name of ['/usr/bin/cat', 'cat']) {
      const { hint } = await refused(name, isolated(['mnt'], own, setexeccon(domain)))
      expect(hint).toContain(`file:entrypoint of ${domain} to ${bin}: the policy needs`)
      expect(hint).toMatch(new RegExp(`; (/usr/bin/)?cat is ${bin}${instead.replaceAll(/[().]/g, '.')}$`))
    }
    const passwd = setexeccon('system_u:system_r:passwd_t:s0')
    expect((await refused('/usr/bin/cat', isolated(['mnt'], own, passwd))).hint).toContain(
      'process:transition',
    )
    // Nobody else ever sees this one.
    const program = path('tmpfs/program')
    mkdirSync(path('tmpfs'))
    const etc = 'system_u:object_r:etc_t:s0'
    const { hint } = await refused(
      program,
      isolated(
        ['mnt'],
        [own, mount({ source: 'none', target: path('tmpfs'), type: 'tmpfs', context: etc })],
        writeFile(program, readFileSync('/usr/bin/busybox'), { flags: ['O_CREAT'], mode: 0o755 }),
        setexeccon(domain),
      ),
    )
    expect(hint).toBe(
      `SELinux refuses file:entrypoint of ${domain} to ${etc}: ` +
        `the policy needs (allow container_t etc_t (file (entrypoint))); ${program} is ${etc}${instead}`,
    )
  },
)

on({ ...machine, ...rights }).test('what may not be executed at all, by the domain of setcon', async () => {
  const target = '/usr/local'
  const label = 'system_u:object_r:etc_t:s0'
  const { hint } = await refused(
    `${target}/program`,
    isolated(
      ['mnt'],
      makePrivate('/', { recursive: true }),
      mount({ source: 'none', target, type: 'tmpfs', rootcontext: 'system_u:object_r:usr_t:s0' }),
      setfscreateconStep(label),
      writeFile(`${target}/program`, readFileSync('/usr/bin/busybox'), { flags: ['O_CREAT'], mode: 0o755 }),
      setfscreateconStep(null),
      setcon(domain),
    ),
  )
  expect(hint).toBe(
    `SELinux refuses file:execute of ${domain} to ${label}: the policy needs (allow container_t etc_t (file (execute))); ` +
      `${target}/program is ${label}`,
  )
})
