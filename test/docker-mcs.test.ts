// MCS in examples/docker: a process that has got out of its container and into another one is still kept from it by its label.
import { afterEach, expect } from '@jest/globals'
import { closeSync, copyFileSync, existsSync, openSync, readdirSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { run, selinux } from 'fancyproc'
import { clone, dup, setexeccon, setns } from 'fancyproc/steps'
import { setfscreatecon } from 'fancyproc/thread'
import { command, type Forked, root } from './support/fork.ts'
import { on, patient } from './support/machine.ts'
import { scratch } from './support/scratch.ts'

const path = scratch()
const here = on({ lsm: 'selinux', user: 'root', tools: 'busybox' })

function docker(...args: string[]): Promise<Forked> {
  const environment = { ...process.env, FANCYPROC_DOCKER_STATE: path('state') }
  return command(process.execPath, [join(root, 'dist/examples/docker/main.js'), ...args], environment)
}

interface Container {
  pid: number
  label: string
  fileLabel: string
}

/** A container with a secret. */
async function start(...options: string[]): Promise<Container> {
  const script = 'echo secret >/tmp/secret; exec sleep 1000'
  const { stdout, stderr } = await docker('run', '-d', ...options, 'rhel7', 'sh', '-c', script)
  expect(stdout).toMatch(/^[0-9a-f]{64}\n$/)
  expect(stderr).not.toMatch(/^docker:/m)
  const [container] = JSON.parse((await docker('inspect', stdout.trim())).stdout) as [Container]
  const end = Date.now() + patient(10_000)
  while (!existsSync(inside(container, 'tmp/secret'))) {
    if (Date.now() > end) throw new Error('it does not start')
    await sleep(20)
  }
  return container
}

const inside = ({ pid }: Container, file: string): string => `/proc/${String(pid)}/root/${file}`

const labelOf = (file: string): string =>
  spawnSync('stat', ['--dereference', '--printf=%C', file], { encoding: 'utf8' }).stdout

/** A program with the label of one container, brought along, in the namespaces of another. */
async function as(one: Container, within: Container, ...args: string[]): ReturnType<typeof run> {
  const file = path(`busybox-${one.label.replaceAll(/\W/g, '-')}`)
  setfscreatecon(one.fileLabel)
  try {
    copyFileSync('/usr/bin/busybox', file)
  } finally {
    setfscreatecon(null)
  }
  const open = (name: string): number => openSync(`/proc/${String(within.pid)}/ns/${name}`, 'r')
  const fds = { mnt: open('mnt'), pid: open('pid'), program: openSync(file, 'r') }
  const done = run('/proc/self/fd/9', args, {
    argv0: 'busybox',
    steps: [
      setns(fds.pid, 'pid'),
      clone(),
      setns(fds.mnt, 'mnt'),
      dup(fds.program, 9),
      setexeccon(one.label),
    ],
  })
  for (const fd of Object.values(fds)) closeSync(fd)
  return done
}

afterEach(async () => {
  const left = existsSync(path('state')) ? readdirSync(path('state')) : []
  if (left.length > 0) await docker('rm', '-f', ...left)
})

for (const type of ['container_t', 'svirt_lxc_net_t']) {
  here.test(
    `${type}: no container reads another's files, nor signals its process`,
    async () => {
      const options = type === 'container_t' ? [] : ['--security-opt', `label=type:${type}`]
      const [one, two] = [await start(...options), await start(...options)]
      // Each at a level of its own, and its files with it.
      const levels = [one, two].map(({ label }) => /:s0:c\d+,c\d+$/.exec(label)?.[0])
      expect(new Set(levels).size).toBe(2)
      for (const [i, container] of [one, two].entries()) {
        expect(container.label).toBe(`system_u:system_r:${type}${levels[i]!}`)
        expect(selinux.getpidcon(container.pid)).toBe(selinux.canonicalize(container.label))
        expect(container.fileLabel).toBe(`system_u:object_r:container_file_t${levels[i]!}`)
        for (const file of ['tmp/secret', 'usr/bin/sleep', 'etc/passwd', 'dev/null', 'dev/pts/ptmx'])
          expect([file, labelOf(inside(container, file))]).toEqual([file, container.fileLabel])
      }

      const read = ['cat', '/tmp/secret']
      expect(await as(two, two, ...read)).toMatchObject({ code: 0, stdout: 'secret\n' })
      expect(await as(one, two, ...read)).toMatchObject({
        code: 1,
        stdout: '',
        stderr: expect.stringContaining('Permission denied') as unknown,
      })
      // The first process of a pid namespace ignores it.
      const signal = ['kill', '-TERM', '1']
      expect(await as(two, two, ...signal)).toMatchObject({ code: 0, stderr: '' })
      expect(await as(one, two, ...signal)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('Permission denied') as unknown,
      })

      // It is the level: type, role and user are the same.
      for (const [source, target, tclass, permission] of [
        ['label', 'fileLabel', 'file', 'read'],
        ['label', 'label', 'process', 'signal'],
      ] as const) {
        expect(selinux.check(two[source], two[target], tclass, permission)).toBe(true)
        expect(selinux.check(one[source], two[target], tclass, permission)).toBe(false)
      }
    },
    60_000,
  )
}

here.test('the level that is asked for, none, and what docker does not know', async () => {
  const asked = await start(
    '--security-opt',
    'label=level:s0:c1,c2',
    '--security-opt',
    'label=type:container_t',
  )
  expect(selinux.getpidcon(asked.pid)).toBe('system_u:system_r:container_t:s0:c1,c2')
  const plain = await start('--security-opt', 'label=disable')
  expect(selinux.getpidcon(plain.pid)).toBe(selinux.getcon())
  for (const wrong of ['label=nonsense', 'label=level', 'label=disable:x', 'apparmor=x']) {
    const { code, stderr } = await docker('run', '--security-opt', wrong, 'rhel7', 'true')
    expect([code, stderr]).toEqual([125, expect.stringContaining(`--security-opt ${wrong}: `)])
  }
})

on({ lsm: ['none', 'apparmor'] }).test('a label where SELinux is off is refused', async () => {
  const { code, stderr } = await docker(
    'run',
    '--rm',
    '--security-opt',
    'label=type:container_t',
    'rhel7',
    'true',
  )
  expect([code, stderr]).toEqual([expect.any(Number), expect.stringContaining('SELinux is off')])
  expect(code).not.toBe(0)
})
