// Limits under load: each of a controller does what it says, measured. All loads are bounded in number, size and time.
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { closeSync, openSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { type Cgroup, cgroups, type Process, run, spawn } from 'fancyproc'
import { on, patient } from './support/machine.ts'
import { scratch } from './support/scratch.ts'
import { sh } from './support/sh.ts'

const path = scratch()
const LIMIT = patient(30_000)
const MB = 1 << 20

function load(cgroup: Cgroup, script: string): Process {
  return spawn('sh', ['-c', script], { cgroup, stdio: 'ignore', timeout: LIMIT, killSignal: 'SIGKILL' })
}

on({ user: 'root', cgroup: 'v2', controllers: 'cpu' }).test('cpu.max: 20 % are 20 %', async () => {
  await using cgroup = await cgroups.create('fifth', { 'cpu.max': { quota: 20_000, period: 100_000 } })
  for (let i = 0; i < 2; i++) load(cgroup, 'while :; do :; done')
  const used = async (): Promise<number> => (await cgroup.get('cpu.stat')).usage_usec
  while ((await used()) < 20_000) await delay(10)
  const [before, start] = [await used(), performance.now()]
  await delay(3000)
  const [after, end] = [await used(), performance.now()]
  const share = (after - before) / 1000 / (end - start)
  expect(share).toBeGreaterThan(0.18)
  expect(share).toBeLessThan(0.22)
})

on({ user: 'root', cgroup: 'v2', controllers: 'pids' }).test('pids.max: a fork bomb stops', async () => {
  await using cgroup = await cgroups.create('bomb', { 'pids.max': 24 })
  await using changes = cgroup.watch('pids.events')
  // 511 processes at the most, if nothing stopped them.
  const bomb = load(
    cgroup,
    'bomb() { [ $1 = 0 ] || { bomb $(($1 - 1)) & bomb $(($1 - 1)) & }; sleep 1; }; bomb 8',
  )
  const { value } = await changes.next()
  expect(value?.values.max).toBeGreaterThan(0)
  expect(await cgroup.get('pids.current')).toBeLessThanOrEqual(24)
  await cgroup.kill()
  await bomb.exited
  await cgroup.empty()
  expect((await run('echo', ['outside'])).stdout).toBe('outside\n')
})

on({ user: 'root', cgroup: 'v2-any' }).test('cgroup.freeze: a counter stops', async () => {
  await using cgroup = await cgroups.create('counter')
  const file = path('count')
  load(cgroup, `i=0; while :; do i=$((i + 1)); echo $i >'${file}'; done`)
  const count = (): number => {
    try {
      return Number(readFileSync(file, 'utf8'))
    } catch {
      return 0
    }
  }
  while (count() < 10) await delay(5)
  await cgroup.freeze()
  const frozen = readFileSync(file, 'utf8')
  await delay(200)
  expect(readFileSync(file, 'utf8')).toBe(frozen)
  await cgroup.thaw()
  while (count() <= Number(frozen)) await delay(5)
})

on({ user: 'root', cgroup: 'v2', controllers: 'memory' }).describe('memory', () => {
  on({ psi: true }).test('memory.high: a trigger tells of the pressure', async () => {
    await using cgroup = await cgroups.create('high', { 'memory.high': 16 * MB, 'memory.max': 64 * MB })
    await using trigger = cgroup.watchPressure('memory', 'some', 50_000, 2_000_000)
    load(cgroup, 'exec tail /dev/zero')
    const { value } = await trigger.next()
    expect(value?.some?.total).toBeGreaterThan(0)
  })

  on({ kernel: '5.19' }).test('memory.reclaim: memory.current falls', async () => {
    await using cgroup = await cgroups.create('reclaim', { 'memory.max': 64 * MB })
    const file = path('cache')
    const { code } = await load(cgroup, `dd if=/dev/zero of='${file}' bs=64k count=256 && sync '${file}'`)
      .exited
    expect(code).toBe(0)
    const before = await cgroup.get('memory.current')
    expect(before).toBeGreaterThan(8 * MB)
    expect(await cgroup.reclaim(4 * MB)).toBe(true)
    expect(await cgroup.get('memory.current')).toBeLessThanOrEqual(before - 4 * MB)
    // There is no such much.
    expect(await cgroup.reclaim(1024 * MB)).toBe(false)
    rmSync(file)
  })

  on({ kernel: '6.9' }).test('memory.reclaim: with swappiness', async () => {
    await using cgroup = await cgroups.create('swappiness')
    const file = path('cache')
    await load(cgroup, `dd if=/dev/zero of='${file}' bs=64k count=64 && sync '${file}'`).exited
    expect(await cgroup.reclaim(MB, { swappiness: 0 })).toBe(true)
    rmSync(file)
  })
})

test('reclaim: bad input', async () => {
  const { reclaim } = await import('../lib/cgroups/reclaim.ts')
  for (const bytes of [0, -1, 1.5, NaN, 2 ** 60, '1']) {
    await expect(reclaim('/nowhere', bytes as number)).rejects.toThrow(/^reclaim: bytes: expected/)
  }
  await expect(reclaim('/nowhere', 1, { swappiness: 201 })).rejects.toThrow(/^reclaim: swappiness: expected/)
})

on({ user: 'root', cgroup: 'v2', controllers: 'io', tools: ['losetup', 'dd'] }).describe('io', () => {
  let device: string
  beforeAll(() => {
    const image = path('disk')
    closeSync(openSync(image, 'w'))
    truncateSync(image, 16 * MB)
    device = sh(`losetup --find --show '${image}'`)
  })
  afterAll(() => {
    sh(`losetup --detach '${device}'`)
  })

  /** Seconds that it takes to write so many bytes, past the page cache. */
  async function write(cgroup: Cgroup, bytes: number): Promise<number> {
    const start = performance.now()
    const count = String(bytes / 65_536)
    const { code } = await load(
      cgroup,
      `exec dd if=/dev/zero of='${device}' bs=64k count=${count} oflag=direct`,
    ).exited
    expect(code).toBe(0)
    return (performance.now() - start) / 1000
  }

  test('io.max: no more bytes a second', async () => {
    const { rdev } = statSync(device)
    const number = `${rdev >> 8}:${rdev & 255}` as const
    await using slow = await cgroups.create('slow', { 'io.max': { [number]: { wbps: MB } } })
    await using free = await cgroups.create('free')
    const [limited, unlimited] = [await write(slow, 4 * MB), await write(free, 4 * MB)]
    expect(4 / limited).toBeLessThan(1.1)
    // Nor much less: what is the same for both, the start of dd, apart.
    expect(4 / (limited - unlimited)).toBeGreaterThan(0.5)
    expect(unlimited).toBeLessThan(limited / 2)
    const stat = await slow.get('io.stat')
    expect(stat[number]?.wbytes).toBeGreaterThanOrEqual(4 * MB)
  })
})
