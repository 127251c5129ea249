// Programs in another SELinux domain: with what they are given, and why they don't start.
import { afterAll, beforeAll, expect } from '@jest/globals'
import { closeSync, copyFileSync, existsSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs'
import { type KernelError, run, type SpawnOptions } from 'fancyproc'
import {
  childFd,
  close,
  dup,
  makePrivate,
  mkdir,
  mount,
  openpty,
  setcon,
  setexeccon,
  setfscreatecon as setfscreateconStep,
  setNoNewPrivs,
  type Step,
  writeFile,
} from 'fancyproc/steps'
import { setfscreatecon } from 'fancyproc/thread'
import { isolated, rights } from './support/isolated.ts'
import { on, unmet } from './support/machine.ts'
import { scratch } from './support/scratch.ts'

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
