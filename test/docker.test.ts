// examples/docker, as one uses it: the built program, what it prints, and that it leaves nothing behind.
import { afterEach, expect } from '@jest/globals'
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { cgroups, run, spawn } from 'fancyproc'
import { membership } from './support/cgroups.ts'
import { command, type Forked, root } from './support/fork.ts'
import { facts, on, patient } from './support/machine.ts'
import { namespace, status } from './support/proc.ts'
import { scratch } from './support/scratch.ts'
import { sh } from './support/sh.ts'

const ordinary = facts.user === 'ordinary'
const here = on(ordinary ? { userns: true } : {})
const path = scratch()
const main = join(root, 'dist/examples/docker/main.js')

const environment = (): Record<string, string | undefined> => ({
  ...process.env,
  FANCYPROC_DOCKER_STATE: path('state'),
})

function docker(...args: string[]): Promise<Forked> {
  return command(process.execPath, [main, ...args], environment())
}

/** On a terminal. */
async function dockerOnTerminal(...args: string[]): Promise<{ code: number | null; stdout: string }> {
  return run(process.execPath, [main, ...args], {
    env: environment(),
    stdio: 'pty',
    timeout: patient(20_000),
  })
}

async function until(condition: () => boolean): Promise<void> {
  const end = Date.now() + patient(10_000)
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not within ${String(patient(10_000))} ms: ${String(condition)}`)
    await sleep(20)
  }
}

interface Record_ {
  id: string
  pid: number
  owner: number
  cgroup?: string
}

async function inspect(id: string): Promise<Record_> {
  const [record] = JSON.parse((await docker('inspect', id)).stdout) as Record_[]
  return record!
}

/** A zombie, whose parent is slow to wait for it, does not run. */
function runs(pid: number): boolean {
  try {
    return !status(pid, 'State').startsWith('Z')
  } catch {
    return false
  }
}

/** Directories of the v2 hierarchy that are named after these ids. */
function cgroupsOf(ids: string[]): string[] {
  if (facts.cgroupRoot === undefined) return []
  const all = readdirSync(facts.cgroupRoot, { recursive: true }) as string[]
  return all.filter((name) => ids.some((id) => name.includes(id.slice(0, 12))))
}

/** Whether this user may make cgroups below ours. */
const delegated = ((): boolean => {
  try {
    accessSync(membership(process.pid), constants.W_OK)
    return true
  } catch {
    return false
  }
})()

const mounts = (): string => readFileSync('/proc/self/mountinfo', 'utf8')

afterEach(async () => {
  const left = existsSync(path('state')) ? readdirSync(path('state')) : []
  if (left.length > 0) await docker('rm', '-f', ...left)
  expect(left).toEqual([])
})

here.test(
  'the lab: three processes, what they are, and nothing left behind',
  async () => {
    const before = mounts()
    const { code, stdout, stderr } = await docker()
    expect({ code, stderr: /^docker:/m.test(stderr) }).toEqual({ code: 0, stderr: false })
    expect(stderr).toMatch(/^no image: /m)

    const ids = stdout.match(/^[0-9a-f]{64}$/gm)!
    expect(ids).toHaveLength(3)
    expect(stdout).toMatch(/^LABEL +UID +PID +PPID .* CMD$/m)
    expect(stdout.match(/^\S+ +\S+ +\d+ .* top$/gm)).toHaveLength(3)
    expect(stdout.match(/^\S+ +\S+ +\d+ .* shim [0-9a-f]{12}$/gm)).toHaveLength(3)

    const row = (name: string): string[] =>
      new RegExp(`^│ ${name} +│(.*)│$`, 'm')
        .exec(stdout)![1]!
        .split('│')
        .map((cell) => cell.trim())
    for (const kind of ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup', ...(ordinary ? ['user'] : [])]) {
      const inodes = row(`ns/${kind}`)
      expect(inodes[0]).toMatch(/^\d+$/)
      for (const inode of inodes.slice(1)) expect(inode).toMatch(/^≠ \d+$/)
      expect(new Set(inodes).size).toBe(4)
    }
    expect(row('ns/time').join()).not.toContain('≠')
    expect(row('no_new_privs').slice(1)).toEqual(['yes', 'yes', 'yes'])
    if (facts.lsm === 'selinux') {
      const tops = stdout.match(/^system_u:system_r:container_t:s0:c\d+,c\d+ .* top$/gm)
      expect(new Set(tops!.map((line) => line.split(' ')[0])).size).toBe(3)
    } else {
      expect(stdout).toContain('SELinux is off')
    }
    if (!ordinary && facts.cgroup !== 'none') {
      for (const id of ids) expect(stdout).toMatch(new RegExp(`│ ${id.slice(0, 12)} │`))
      expect(row('cgroup').slice(1)).toEqual(['/fancyproc-', '/fancyproc-', '/fancyproc-'])
    }
    expect(stdout.match(/─ \d+ shim .*\n.*─ \d+ top +← /g)).toHaveLength(3)

    const pids = stdout.match(/(?<=pid )\d+/g)!.map(Number)
    expect(pids).toHaveLength(4)
    expect(pids.filter(runs)).toEqual([])
    expect(cgroupsOf(ids)).toEqual([])
    expect(mounts()).toBe(before)
    expect(existsSync(path('state'))).toBe(false)
  },
  60_000,
)

here.test('an interrupted lab leaves nothing behind', async () => {
  const lab = spawn(process.execPath, [main], { env: environment() })
  let output = ''
  lab.stdout!.on('data', (chunk: Buffer) => (output += String(chunk)))
  await until(() => /^[0-9a-f]{64}$/m.test(output))
  lab.kill('SIGINT')
  expect(await lab.exited).toMatchObject({ code: 130 })
  expect(existsSync(path('state'))).toBe(false)
})

here.test("run passes on the program's exit status", async () => {
  expect(await docker('run', '--rm', 'rhel7', 'sh', '-c', 'exit 7')).toMatchObject({ code: 7, stdout: '' })
  expect(await docker('run', '--rm', 'rhel7', 'sh', '-c', 'sleep 1000 & exit 0')).toMatchObject({
    code: 0,
  })
  expect(await docker('run', '--rm', 'rhel7', 'sh', '-c', 'echo out; echo err >&2')).toMatchObject({
    stdout: 'out\n',
    stderr: expect.stringMatching(/^no image: [^]*\nerr\n$/),
  })
})

on({ user: 'root', cgroup: 'v2-any' }).test("root's have docker's devices and no others", async () => {
  const id = (await docker('run', '-d', 'rhel7', 'sleep', '1000')).stdout.trim()
  const { cgroup } = await inspect(id)
  await using opened = await cgroups.open(cgroup!)
  expect(await opened.devicePrograms()).toMatchObject([{ ours: true }])
  // Nodes of other devices are not there, and inside nobody may make one: devices.test.ts has the whole list.
  const { stdout } = await run('sh', ['-c', 'for i in null kmsg; do (: </dev/$i) && echo $i; done'], {
    cgroup: opened,
  })
  expect(stdout).toBe('null\n')
  const { stderr } = await docker('exec', id, 'mknod', '/dev/shm/kmsg', 'c', '1', '11')
  expect(stderr).toMatch(/\/dev\/shm\/kmsg: Operation not permitted/)
  await docker('rm', '-f', id)
})

on({
  user: 'ordinary',
  userns: true,
  cgroup: 'v2-any',
  own: [!delegated, 'a user without a delegated cgroup'],
}).test('who may make no cgroup is told, and has his program run without one', async () => {
  const { code, stdout, stderr } = await docker('run', '--rm', 'rhel7', 'echo', 'runs')
  expect({ code, stdout }).toEqual({ code: 0, stdout: 'runs\n' })
  expect(stderr).toMatch(/^no cgroup of its own: EACCES: .*\n.*hint: an ordinary user needs/m)
  const limited = await docker('run', '--rm', '--pids-limit', '9', 'rhel7', 'echo', 'runs')
  expect(limited).toMatchObject({ code: 125, stdout: '' })
  expect(limited.stderr).toMatch(/^docker: (EACCES|ENOENT): /m)
})

here.test('run -it has a terminal of its own', async () => {
  const { code, stdout } = await dockerOnTerminal('run', '--rm', '-it', 'rhel7', 'tty')
  expect(stdout.split('\r\n').at(-2)).toBe('/dev/pts/0')
  expect(code).toBe(0)
})

here.test('run -it without one is an error', async () => {
  const { code, stderr } = await docker('run', '--rm', '-it', 'rhel7', 'tty')
  expect({ code, stderr }).toEqual({ code: 1, stderr: 'docker: the input device is not a TTY\n' })
  expect(await docker('run', '--rm', '-t', 'rhel7', 'tty')).toMatchObject({
    code: 0,
    stdout: '/dev/pts/0\r\n',
  })
})

here.test('keys and the size of the window go through the terminal', async () => {
  const text = 'trap "stty size" WINCH; trap "exit 5" INT; echo ready; while :; do sleep 0.1; done'
  const cli = spawn(process.execPath, [main, 'run', '--rm', '-it', 'rhel7', 'sh', '-c', text], {
    env: environment(),
    stdio: 'pty',
    pty: { columns: 100, rows: 30 },
  })
  let output = ''
  cli.pty!.on('data', (chunk: Buffer) => (output += String(chunk)))
  await until(() => output.includes('ready'))
  cli.pty!.resize(90, 25)
  await until(() => output.includes('25 90'))
  cli.pty!.write('\x03')
  expect(await cli.exited).toMatchObject({ code: 5 })
})

here.test('all of the output arrives, and a reader that leaves ends it', async () => {
  const { stdout } = await docker('run', '--rm', '-t', 'rhel7', 'seq', '1', '100000')
  expect(stdout.endsWith('\r\n99999\r\n100000\r\n')).toBe(true)
  const env = { ...process.env, FANCYPROC_DOCKER_STATE: path('state') }
  const line = sh(
    `'${process.execPath}' '${main}' run --rm -t rhel7 seq 1 10000000 2>&1 | grep -m1 '^1'`,
    env,
  )
  expect(line.trim()).toBe('1')
  await until(() => !existsSync(path('state')))
})

here.test("docker's exit statuses for what can't be run", async () => {
  const file = path('not-executable')
  writeFileSync(file, '')
  const codes = async (...args: string[]): Promise<(number | string | null)[]> => {
    const { code, stderr } = await docker(...args)
    return [code, stderr.split('\n').find((line) => line.startsWith('docker: ')) ?? '']
  }
  expect(await codes('run', '--rm', 'rhel7', 'nosuch')).toEqual([
    127,
    expect.stringContaining("execve 'nosuch'"),
  ])
  expect(await codes('run', '-d', 'rhel7', 'nosuch')).toEqual([
    127,
    expect.stringContaining("execve 'nosuch'"),
  ])
  expect(await codes('run', 'rhel7', '/etc/passwd')).toEqual([126, expect.stringContaining('EACCES')])
  expect(await codes('run', '--nonsense', 'rhel7', 'top')).toEqual([
    125,
    expect.stringContaining("'--nonsense'"),
  ])
  expect(await codes('run', 'rhel7')).toEqual([125, expect.stringContaining('no default command')])
  expect(await codes('run')).toEqual([125, expect.stringContaining('run [OPTIONS] IMAGE COMMAND')])
  expect(await codes('run', '--rootfs', file, 'x', 'y')).toEqual([
    125,
    expect.stringContaining('no such directory'),
  ])
  expect(await codes('nonsense')).toEqual([1, "docker: 'nonsense' is not a command."])
  expect(await codes('logs', 'nosuch')).toEqual([1, 'docker: No such container: nosuch'])
})

here.test('inspect: what the kernel says of it', async () => {
  const { stdout } = await docker('run', '-d', '--name', 'looked-at', 'rhel7', 'sleep', '1000')
  const one = (await inspect('looked-at')) as unknown as Inspected
  for (const kind of ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup']) {
    const inode = Number(/\d+/.exec(namespace(one.pid, kind))?.[0])
    expect(one.isolation.namespaces[kind]).toMatchObject({ value: inode, differs: true })
    expect(one.inside.find((row) => row.inode === inode)?.pids).toContain(one.pid)
  }
  expect(one.isolation.droppedCapabilities).toEqual(
    ordinary ? expect.anything() : expect.arrayContaining(['CAP_SYS_ADMIN']),
  )
  const table = (await docker('inspect', '--table', 'looked-at')).stdout
  expect(table).toMatch(/^ns\/mnt +\d+ +≠ +\d+$/m)
  await docker('rm', '-f', stdout.trim())
})

interface Inspected extends Record_ {
  isolation: { namespaces: Record<string, unknown>; droppedCapabilities: string[] }
  inside: { inode: number; pids: number[] }[]
}

here.test('what run -d left: ps, logs, stop, rm', async () => {
  const text = 'echo out; echo err >&2; hostname; trap "exit 4" TERM; while :; do sleep 0.05; done'
  const { stdout } = await docker('run', '-d', '--name', 'one', '-h', 'inside', 'rhel7', 'sh', '-c', text)
  const id = stdout.trim()
  expect(id).toMatch(/^[0-9a-f]{64}$/)
  const { pid, owner, cgroup } = await inspect('one')
  expect([runs(pid), runs(owner)]).toEqual([true, true])
  if (!ordinary && facts.cgroup !== 'none') {
    expect(readFileSync(`/proc/${String(pid)}/cgroup`, 'utf8')).toContain(`/fancyproc-${id.slice(0, 12)}\n`)
  }

  expect((await docker('ps')).stdout).toMatch(
    new RegExp(`^${id.slice(0, 12)} +rhel7 .* Up .* ${String(pid)} +one$`, 'm'),
  )
  expect(await docker('run', '-d', '--name', 'one', 'rhel7', 'top')).toMatchObject({ code: 125 })
  expect(await docker('rm', 'one')).toMatchObject({ code: 1, stderr: expect.stringContaining('is running') })
  const trapped = async (): Promise<boolean> =>
    (await docker('logs', id.slice(0, 5))).stdout.includes('inside\n')
  while (!(await trapped()));
  // Two pipes: which of them is read first is nobody's business.
  expect((await docker('logs', 'one')).stdout.split('\n').sort()).toEqual(['', 'err', 'inside', 'out'])

  expect(await docker('stop', 'one', 'nosuch')).toMatchObject({ code: 1, stdout: 'one\n' })
  expect([runs(pid), cgroup !== undefined && existsSync(cgroup)]).toEqual([false, false])
  expect((await docker('ps', '-q')).stdout).toBe('')
  expect((await docker('ps', '-a')).stdout).toContain('Exited (4)')
  expect(await docker('rm', 'one')).toMatchObject({ code: 0, stdout: 'one\n' })
  expect(existsSync(path('state'))).toBe(false)
})

here.test('stop ends a first process that ignores SIGTERM', async () => {
  await docker('run', '-d', '--name', 'deaf', 'rhel7', 'sleep', '1000')
  expect(await docker('stop', '-t', '0.2', 'deaf')).toMatchObject({ code: 0 })
  expect((await docker('ps', '-a')).stdout).toContain('Exited (137)')
  await docker('rm', 'deaf')
})

here.test('losing the state directory leaves the processes running', async () => {
  const id = (await docker('run', '-td', 'rhel7', 'top', '-d', '0.1')).stdout.trim()
  const { pid, owner } = await inspect(id)
  rmSync(path('state'), { recursive: true })
  expect((await docker('ps', '-aq')).stdout).toBe('')
  // Long enough for top to write to its terminal again.
  await sleep(1000)
  expect([runs(pid), runs(owner)]).toEqual([true, true])
  process.kill(pid, 'SIGTERM')
  await until(() => !runs(pid) && !runs(owner))
  expect(cgroupsOf([id])).toEqual([])
  expect(existsSync(path('state'))).toBe(false)
})

here.test('what a killed shim leaves is removed by rm -f', async () => {
  const id = (await docker('run', '-td', 'rhel7', 'top')).stdout.trim()
  const { pid, owner } = await inspect(id)
  process.kill(owner, 'SIGKILL')
  // Its terminal has hung up.
  await until(() => !runs(pid))
  expect((await docker('ps', '-a')).stdout).toContain('Gone')
  expect(await docker('rm', '-f', id)).toMatchObject({ code: 0 })
  expect(cgroupsOf([id])).toEqual([])
})

here.test('an attached one ends with its owner', async () => {
  const cli = await spawn(process.execPath, [main, 'run', '--name', 'attached', 'rhel7', 'sleep', '1000'], {
    env: environment(),
  }).spawned
  await until(() => existsSync(path('state')) && readdirSync(path('state'), { recursive: true }).length > 2)
  const { pid } = await inspect('attached')
  cli.kill('SIGKILL')
  await cli.exited
  // Where its label is not ours, the kernel has forgotten the parent-death signal.
  if (facts.lsm === 'selinux') process.kill(pid, 'SIGKILL')
  await until(() => !runs(pid))
  expect(await docker('rm', '-f', 'attached')).toMatchObject({ code: 0 })
})

on({ tools: 'ldd', ...(ordinary && { userns: true }) }).test(
  '--rootfs, whatever its symlinks say',
  async () => {
    const rootfs = path('rootfs')
    mkdirSync(join(rootfs, 'bin'), { recursive: true })
    const files = sh("for f in sh ls; do p=$(command -v $f); echo $p; ldd $p | grep -o '/[^ ]*'; done")
    for (const file of new Set(files.split('\n'))) {
      const target = /\/(sh|ls)$/.test(file) ? join('bin', file.replace(/.*\//, '')) : file
      sh(`mkdir -p $(dirname ${rootfs}/${target}) && cp -L ${file} ${rootfs}/${target}`)
    }
    symlinkSync('/etc', join(rootfs, 'dev'))
    symlinkSync('../../../etc', join(rootfs, 'proc'))
    // As engines label their images: older kernels (5.10) ask for the lower file's label when a library's pages are protected.
    if (facts.lsm === 'selinux') sh(`chcon --recursive --type=container_file_t ${rootfs}`)
    const before = readdirSync(rootfs)
    const text = 'echo written > /file; ls -d /*; ls /dev'
    const { code, stdout } = await docker('run', '--rm', '--rootfs', rootfs, 'mine', 'sh', '-c', text)
    expect(code).toBe(0)
    expect(stdout).toMatch(/^\/bin\n\/dev\n\/file\n/)
    expect(stdout.split('\n')).toEqual(expect.arrayContaining(['null', 'ptmx', 'pts', 'zero']))
    expect(stdout).not.toContain('passwd')
    expect(readdirSync(rootfs)).toEqual(before)
  },
)

here.test('a limit is kept, or nothing runs', async () => {
  const { code, stdout, stderr } = await docker(
    'run',
    '--rm',
    '--pids-limit',
    '7',
    'rhel7',
    'cat',
    '/sys/fs/cgroup/pids.max',
  )
  if (code === 0) expect(stdout).toBe('7\n')
  else expect([code, stderr]).toEqual([125, expect.stringMatching(/^docker: E[A-Z]+: /m)])
  expect((await docker('ps', '-aq')).stdout).toBe('')
})
