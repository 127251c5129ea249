import { afterEach, describe, expect, test } from '@jest/globals'
import { closeSync, existsSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { type Process, ps, type ProcessField, type ProcessInfo, spawn, type SpawnOptions } from 'fancyproc'
import { mount, open, sendFd, setgroups, setNoNewPrivs, setresgid, setresuid } from 'fancyproc/steps'
import { fork } from './support/fork.ts'
import { isolated, rights } from './support/isolated.ts'
import { facts, on } from './support/machine.ts'
import { asleep, namespace, stat, status } from './support/proc.ts'
import { onRuntimes } from './support/runtimes.ts'
import { scratch } from './support/scratch.ts'
import { sh } from './support/sh.ts'

const path = scratch()
const children: Process[] = []
afterEach(async () => {
  for (const child of children.splice(0)) await child[Symbol.asyncDispose]()
})

/** Runs until the test is over: `read` waits for ever. */
async function started(script = 'read x', options: SpawnOptions = {}, ...args: string[]): Promise<Process> {
  const stdio = ['pipe', 'ignore', 'inherit'] as const
  const child = spawn('sh', ['-c', script, ...args], { stdio, ...options })
  children.push(child)
  await child.spawned
  await asleep(child.pid)
  return child
}

async function one<F extends ProcessField = ProcessField>(
  { pid = 0 }: { pid?: number | undefined },
  fields?: readonly F[],
): Promise<Pick<ProcessInfo, F>> {
  const [info] = await ps({ pids: [pid], fields })
  if (info === undefined) throw new Error(`no process ${String(pid)}`)
  return info
}

const kinds = ['mnt', 'uts', 'ipc', 'user', 'pid', 'net', 'cgroup', 'time'] as const

describe('a process is told of as /proc does', () => {
  test('stat', async () => {
    const { pid } = await started('read x', { detached: true })
    const [state, ppid, pgid, sid] = stat(pid)
    expect(await one({ pid })).toMatchObject({
      pid,
      state,
      ppid: Number(ppid),
      pgid: Number(pgid),
      sid: Number(sid),
      tty: null,
      threads: 1,
      comm: 'sh',
      startTicks: Number(stat(pid)[19]),
      vsize: Number(stat(pid)[20]),
    })
    expect([ppid, pgid, sid].map(Number)).toEqual([process.pid, pid, pid])
    expect((await one({ pid })).rss).toBeGreaterThan(100_000)
  })

  test('the time of its start', async () => {
    const before = Date.now()
    const child = await started()
    const { started: date } = await one(child)
    // Ticks are 10 ms.
    expect(date.getTime()).toBeGreaterThan(before - 20)
    expect(date.getTime()).toBeLessThanOrEqual(Date.now())
  })

  test('CPU time and threads', async () => {
    const { userCPUTime, systemCPUTime, threads } = await one(process)
    const used = process.cpuUsage()
    expect(userCPUTime + systemCPUTime).toBeGreaterThan(0)
    expect(userCPUTime).toBeLessThanOrEqual(used.user + 20_000)
    expect(systemCPUTime).toBeLessThanOrEqual(used.system + 20_000)
    expect(threads).toBe(readdirSync('/proc/self/task').length)
  })

  test('status', async () => {
    const { pid } = await started('read x', { steps: [setNoNewPrivs()] })
    const info = await one({ pid })
    const numbers = (field: string): number[] => status(pid, field).split(/\s+/).filter(Boolean).map(Number)
    expect(Object.values(info.uid)).toEqual(numbers('Uid'))
    expect(Object.values(info.gid)).toEqual(numbers('Gid'))
    expect(info.groups).toEqual(numbers('Groups'))
    expect(info.nspid).toEqual(numbers('NSpid'))
    expect(info.noNewPrivs).toBe(true)
    const sets = ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']
    expect(Object.values(info.capabilities)).toEqual(sets.map((name) => BigInt(`0x${status(pid, name)}`)))
    expect(info.seccomp?.mode).toBe('disabled')
    expect(info.seccomp?.filters).toBe(0)
  })

  test('command line, executable, cgroup, label, namespaces', async () => {
    const { pid } = await started('read x', {}, 'name', '', 'two words', 'a\nb', 'ünï')
    const info = await one({ pid })
    expect(info.args).toEqual(['sh', '-c', 'read x', 'name', '', 'two words', 'a\nb', 'ünï'])
    expect(info.executable).toMatch(/^\/.*sh$/)
    const cgroups = readFileSync(`/proc/${String(pid)}/cgroup`, 'utf8')
    expect(info.cgroup).toBe(/^0::(.*)$/m.exec(cgroups)?.[1])
    expect(Object.entries(info.cgroupsV1)).toHaveLength(cgroups.match(/^[1-9]/gm)?.length ?? 0)
    for (const [name, path] of Object.entries(info.cgroupsV1)) expect(cgroups).toContain(`:${name}:${path}\n`)
    expect(info.label !== undefined).toBe(facts.lsm !== 'none')
    for (const kind of kinds) expect(`${kind}:[${String(info.namespaces[kind])}]`).toBe(namespace(pid, kind))
  })

  test('only what was asked for is in a row', async () => {
    const [row] = await ps({ fields: ['comm', 'pid'], pids: [process.pid] })
    expect(Object.keys(row ?? {})).toEqual(['comm', 'pid'])
  })

  on({ user: 'root' }).test('the four ids', async () => {
    const steps = [setgroups([7, 70_000]), setresgid(11, 12, 13), setresuid(21, 22, 23)]
    const child = spawn('sleep', ['1000'], { stdio: 'ignore', steps })
    children.push(child)
    await child.spawned
    const { uid, gid, groups } = await one(child)
    // execve makes the effective id the saved one.
    expect(uid).toEqual({ real: 21, effective: 22, saved: 22, fs: 22 })
    expect(gid).toEqual({ real: 11, effective: 12, saved: 12, fs: 12 })
    expect(groups).toEqual([7, 70_000])
  })

  on({ user: 'root' }).test('more groups than a page has room for', async () => {
    const many = Array.from({ length: 20_000 }, (_, i) => i + 1_000_000)
    expect((await one(await started('read x', { steps: [setgroups(many)] }))).groups).toEqual(many)
  })

  test('its terminal', async () => {
    const child = await started('read x', { stdio: 'pty' })
    const { tty } = await one(child)
    expect(tty).toEqual({ device: Number(stat(child.pid)[4]), name: expect.stringMatching(/^pts\/\d+$/) })
    expect(sh(`ps -o tty= -p ${String(child.pid)}`).trim()).toBe(tty?.name)
  })

  test('a command line of a megabyte', async () => {
    const args = Array.from({ length: 10 }, (_, i) => String(i).repeat(100_000))
    expect((await one(await started('read x', {}, 'name', ...args))).args.slice(4)).toEqual(args)
  })

  test('a name that looks like something else, and arguments that are no text', async () => {
    const child = await started(`printf 'x) Z 1 (\\nTgid:' > /proc/$$/comm; exec 2>/dev/null; read x`)
    expect(await one(child, ['comm', 'state', 'ppid'])).toEqual({
      comm: 'x) Z 1 (\nTgid:',
      state: 'S',
      ppid: process.pid,
    })
    const other = await started(`exec sh -c 'read x' "$(printf 'a\\377b')"`)
    while ((await one(other)).args.length < 4) await new Promise(setImmediate)
    expect((await one(other)).args.at(-1)).toBe('a\ufffdb')
  })

  test('a zombie', async () => {
    const { pid: parent } = await started('true & exec sleep 1000')
    const find = async (): Promise<ProcessInfo | undefined> =>
      (await ps()).find(({ ppid }) => ppid === parent)
    let zombie = await find()
    while (zombie?.state !== 'Z') zombie = await find()
    expect(zombie).toMatchObject({ args: [], executable: undefined, rss: 0 })
    expect(zombie.namespaces.net).toBeUndefined()
  })

  on({ user: 'ordinary' }).test('what is not for everybody is undefined', async () => {
    const init = await one({ pid: 1 })
    expect(init).toMatchObject({ ppid: 0, uid: { real: 0 }, executable: undefined })
    expect(Object.values(init.namespaces)).toEqual(kinds.map(() => undefined))
  })
})

const hasKernelThreads = existsSync('/proc/2/comm') && readFileSync('/proc/2/comm', 'utf8') === 'kthreadd\n'
on({ own: [hasKernelThreads, 'the first pid namespace'] }).test('kernel threads', async () => {
  expect(await one({ pid: 2 })).toMatchObject({
    comm: 'kthreadd',
    ppid: 0,
    args: [],
    executable: undefined,
    vsize: 0,
  })
})

describe('all of them', () => {
  test('are those of ps, with the same columns', async () => {
    await started()
    const columns = 'pid,ppid,pgid,sid,ruid,euid,suid,fuid,rgid,egid,sgid,fgid,nlwp,comm'
    const ours = async (): Promise<string[]> =>
      (await ps()).map(({ pid, ppid, pgid, sid, uid, gid, threads, comm }) => {
        const ids = [uid, gid].flatMap((own) => [own.real, own.effective, own.saved, own.fs])
        return [pid, ppid, pgid, sid, ...ids, threads, comm].join(' ')
      })
    const before = await ours()
    const theirs = sh(`ps -eo ${columns}`).replace(/^ +| +(?= )/gm, '')
    const after = new Set(await ours())
    // Some change meanwhile, and a kernel worker is called by what it does at that moment.
    const steady = before.filter((row) => after.has(row) && !/ kworker\/\S*$/.test(row))
    expect(steady.length).toBeGreaterThan(1)
    const lines = theirs.split('\n')
    for (const row of steady) expect(lines).toContain(row)
  })

  test('are listed once, by ascending pid', async () => {
    const pids = (await ps({ fields: ['pid'] })).map(({ pid }) => pid)
    expect(pids).toContain(process.pid)
    expect(pids).toEqual([...new Set(pids)].sort((a, b) => a - b))
  })
})

describe('pids', () => {
  test('in their order; what is no process is left out', async () => {
    const { pid = 0 } = await started()
    const tid = Number(readdirSync('/proc/self/task').at(-1))
    expect(tid).not.toBe(process.pid)
    const rows = await ps({ fields: ['pid'], pids: [process.pid, 0x7fff_ffff, pid, tid, 1] })
    expect(rows.map((row) => row.pid)).toEqual([process.pid, pid, 1])
  })

  test('none', async () => {
    expect(await ps({ pids: [] })).toEqual([])
  })
})

describe('one that others have isolated is told of as ps and /proc do', () => {
  onRuntimes(path, async (pid) => {
    const columns = 'pid,ppid,pgid,sid,ruid,euid,suid,fuid,rgid,egid,sgid,fgid,nlwp,state,comm'
    // Asleep it shows the same twice.
    await asleep(pid)
    const { uid, gid, ...info } = await one({ pid })
    const ids = [uid, gid].flatMap((own) => [own.real, own.effective, own.saved, own.fs])
    const { ppid, pgid, sid, threads, state, comm } = info
    const ours = [pid, ppid, pgid, sid, ...ids, threads, state, comm]
    const line = (format: string): string[] =>
      sh(`ps -o ${format} -p ${String(pid)}`)
        .trim()
        .split(/\s+/)
    expect(ours.map(String)).toEqual(line(`${columns.replaceAll(',', '=,')}=`))
    expect(info.args).toEqual(line('args='))
    for (const kind of kinds) expect(`${kind}:[${String(info.namespaces[kind])}]`).toBe(namespace(pid, kind))
    expect(info.nspid).toEqual(status(pid, 'NSpid').split('\t').map(Number))
    expect(info.nspid.length).toBeGreaterThan(1)
    expect(info.startTicks).toBe(Number(stat(pid)[19]))
    expect(info.cgroup).toBe(/^0::(.*)$/m.exec(readFileSync(`/proc/${String(pid)}/cgroup`, 'utf8'))?.[1])
    expect(info.capabilities.bounding).toBe(BigInt(`0x${status(pid, 'CapBnd')}`))
    expect(info.noNewPrivs).toBe(status(pid, 'NoNewPrivs') === '1')
    expect(['disabled', 'strict', 'filter'].indexOf(info.seccomp?.mode ?? '')).toBe(
      Number(status(pid, 'Seccomp')),
    )
  })
})

describe('what successive rows share', () => {
  on(rights).test('is shared by those that have it, and by no other', async () => {
    const sets = ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']
    const [a, b] = [await started(), await started('read x', isolated(['net', 'uts'], setNoNewPrivs()))]
    const pids = [a, a, b, a, b, b].map(({ pid = 0 }) => pid)
    const rows = await ps({ pids })
    expect(rows.map(({ pid }) => pid)).toEqual(pids)
    for (const { pid, ...row } of rows) {
      for (const kind of kinds) expect(`${kind}:[${String(row.namespaces[kind])}]`).toBe(namespace(pid, kind))
      const wanted = sets.map((name) => BigInt(`0x${status(pid, name)}`))
      expect(Object.values(row.capabilities)).toEqual(wanted)
      expect(Object.values(row.uid).join('\t')).toBe(status(pid, 'Uid'))
      expect(row.noNewPrivs).toBe(status(pid, 'NoNewPrivs') === '1')
    }
    expect(rows[0]?.namespaces).not.toEqual(rows[2]?.namespaces)
    expect(rows[0]?.namespaces).toBe(rows[1]?.namespaces)
    expect(Object.isFrozen(rows[0]?.namespaces)).toBe(true)
  })
})

describe('another procfs', () => {
  on(rights).test('of a pid namespace, by an fd', async () => {
    const root = open('/proc', 'O_PATH')
    const steps = [mount({ source: 'proc', target: '/proc', type: 'proc' }), root, sendFd('proc', root)]
    const child = await started('read x', isolated(['pid', 'mnt'], ...steps))
    const { proc } = child.fds
    expect(await ps({ proc, fields: ['pid', 'ppid', 'comm', 'nspid'] })).toEqual([
      { pid: 1, ppid: 0, comm: 'sh', nspid: [1] },
    ])
    expect((await one(child)).nspid).toEqual([child.pid, 1])
  })

  test('by its path', async () => {
    expect(await ps({ proc: '/proc', pids: [process.pid], fields: ['pid'] })).toEqual([{ pid: process.pid }])
  })

  on({ user: 'root' }).test('with hidepid: what others run is left out', async () => {
    const { code, stdout, stderr } = await fork(`
      import { ps, spawn } from 'fancyproc'
      import { makePrivate, mount, open, sendFd } from 'fancyproc/steps'
      const fds = []
      for (const data of ['hidepid=1', 'hidepid=2']) {
        const proc = open('/proc', 'O_PATH')
        const steps = [makePrivate('/', { recursive: true }), mount({ target: '/proc', type: 'proc', data }), proc, sendFd('proc', proc)]
        const child = spawn('true', [], { namespaces: ['mnt'], steps })
        await child.exited
        fds.push(child.fds.proc)
      }
      process.setgroups([])
      process.setgid(65534)
      process.setuid(65534)
      for (const proc of fds) {
        const pids = (await ps({ proc, fields: ['pid', 'state'] })).map(({ pid }) => pid)
        console.log(pids.includes(1), (await ps({ proc, fields: ['pid', 'comm', 'uid'], pids: [1] })).length)
      }
      console.log((await ps({ fields: ['pid', 'state'] })).some(({ pid }) => pid === 1))
    `)
    expect([code, stdout, stderr]).toEqual([0, 'false 0\nfalse 0\ntrue\n', ''])
  })
})

describe('mistakes', () => {
  test.each([
    [{ fields: ['pid', 'name'] }, 'ps: fields[1]: no field "name"; known are pid,'],
    [{ fields: [] }, 'ps: fields: is empty'],
    [{ fields: 'pid' }, 'ps: fields: expected an array of names, got "pid"'],
    [{ pids: 1 }, 'ps: pids: expected an array of pids, got 1'],
    [{ pids: ['1'] }, 'ps: pids[0]: expected a pid, got "1"'],
    [{ pids: [1, 0] }, 'ps: pids[1]: no pid: 0'],
    [{ pids: [2 ** 31] }, 'ps: pids[0]: no pid: 2147483648'],
    [{ proc: {} }, 'ps: proc: expected a path or an fd, got {}'],
    [{ proc: '' }, 'ps: proc: is empty'],
    [{ proc: -1 }, 'ps: proc: no fd: -1'],
    [{ pid: 1 }, 'ps: pid: no such option; known are fields, pids, proc'],
    [null, 'ps: options: expected an object, got null'],
  ])('%j', async (options, message) => {
    await expect(ps(options as never)).rejects.toThrow(message)
  })

  test('no procfs there', async () => {
    await expect(ps({ proc: '/' })).rejects.toMatchObject({
      code: 'ENODEV',
      path: '/',
      hint: 'no procfs is mounted there',
    })
    await expect(ps({ proc: '/no/such' })).rejects.toMatchObject({ code: 'ENOENT', path: '/no/such' })
    const fd = openSync('/', 'r')
    closeSync(fd)
    await expect(ps({ proc: fd })).rejects.toMatchObject({ code: 'EBADF' })
  })

  test('no descriptor is left: an error, and not a table with holes', async () => {
    const { code, stdout } = await fork(`
      import { openSync, closeSync, readdirSync } from 'node:fs'
      import { ps } from 'fancyproc'
      await ps()
      const before = readdirSync('/proc/self/fd').length
      const fds = []
      try { for (;;) fds.push(openSync('/dev/null')) } catch {}
      const codes = []
      for (let room = 0; room < 8; room++) {
        codes.push(await ps().then((rows) => rows.length > 0, ({ code }) => code))
        closeSync(fds.pop())
      }
      for (const fd of fds) closeSync(fd)
      console.log([...new Set(codes)].join(), readdirSync('/proc/self/fd').length - before)
    `)
    expect([code, stdout]).toEqual([0, 'EMFILE,true 0\n'])
  })
})
