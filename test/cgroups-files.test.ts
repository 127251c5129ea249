// Interface files with their types: what get() gives, what set() takes, and that the table knows all that a kernel has.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { type Cgroup, cgroups, type ReadableFile } from 'fancyproc'
import { controllerOf, formatOf } from '../lib/cgroups/interface.ts'
import { parsePressure } from '../lib/cgroups/keyed.ts'
import { facts, on } from './support/machine.ts'

const root = facts.cgroupRoot ?? ''
/** All that these tests make is below it. */
const scratch = join(root, `fancyproc-files-${String(process.pid)}`)

/** Passes types by. */
type Loose = AsyncDisposable & {
  readonly path: string
  get(file: string): Promise<unknown>
  set(file: string, value: unknown): Promise<unknown>
}
const loose = (group: Cgroup): Loose => group

function isKernel(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [ours = 0, oursMinor = 0] = facts.kernel.split('.').map((part) => parseInt(part))
  return ours > major || (ours === major && oursMinor >= minor)
}

describe('without a kernel', () => {
  const parse = (file: string, text: string): unknown => formatOf(file)?.parse?.(text)
  const format = (file: string, value: unknown): unknown => formatOf(file)?.format?.(value as never, file)

  test.each<[string, string, unknown]>([
    ['memory.max', 'max\n', 'max'],
    ['memory.max', '9223372036854771712\n', 9223372036854771712],
    ['cpu.max', 'max 100000\n', { quota: 'max', period: 100_000 }],
    ['cpu.uclamp.max', '12.34\n', 12.34],
    ['cpu.weight.nice', '-20\n', -20],
    ['cpuset.cpus', '0-2,5,7-8\n', [0, 1, 2, 5, 7, 8]],
    ['cpuset.cpus', '\n', []],
    [
      'cpuset.cpus.partition',
      'root invalid (Parent is not a partition root)\n',
      'root invalid (Parent is not a partition root)',
    ],
    ['io.weight', 'default 100\n8:16 200\n', { default: 100, '8:16': 200 }],
    [
      'io.max',
      '8:16 rbps=2097152 wbps=max riops=max wiops=120\n',
      { '8:16': { rbps: 2097152, wbps: 'max', riops: 'max', wiops: 120 } },
    ],
    // A device without traffic.
    ['io.stat', '7:7 \n8:0 rbytes=1 wbytes=2\n', { '8:0': { rbytes: 1, wbytes: 2 } }],
    ['io.cost.qos', '8:0 enable=1 ctrl=auto rpct=95.00\n', { '8:0': { enable: 1, ctrl: 'auto', rpct: 95 } }],
    ['rdma.max', 'mlx5_0 hca_handle=2 hca_object=max\n', { mlx5_0: { hca_handle: 2, hca_object: 'max' } }],
    ['misc.events', 'sev.max 3\nsev_es.max 0\n', { 'sev.max': 3, 'sev_es.max': 0 }],
    ['dmem.max', 'drm/0000:03:00.0/vram0 1073741824\n', { 'drm/0000:03:00.0/vram0': 1 << 30 }],
    ['hugetlb.2MB.numa_stat', 'total=0 N0=0\n', { total: 0, N0: 0 }],
    ['memory.numa_stat', 'anon N0=8192 N1=0\nfile N0=1\n', { anon: { N0: 8192, N1: 0 }, file: { N0: 1 } }],
  ])('%s reads %j', (file, text, value) => {
    expect(parse(file, text)).toEqual(value)
  })

  test('pressure', () => {
    const some = { avg10: 0.12, avg60: 1, avg300: 99.5, total: 943419 }
    expect(parsePressure('some avg10=0.12 avg60=1.00 avg300=99.50 total=943419\n')).toEqual({ some })
  })

  test('what is no number is not taken for one', () => {
    expect(() => parse('memory.current', 'plenty\n')).toThrow(/expected a number, the kernel says "plenty"/)
    expect(() => parse('memory.stat', 'anon many\n')).toThrow(/"many"/)
  })

  test.each<[string, unknown, string[]]>([
    ['memory.max', 2n ** 63n, ['9223372036854775808']],
    ['memory.max', 2 ** 60, ['1152921504606846976']],
    ['cpu.max', { quota: 'max' }, ['max']],
    ['cpu.max', { quota: 20_000, period: 100_000 }, ['20000 100000']],
    ['cpu.uclamp.min', 12.5, ['12.50']],
    ['cpuset.cpus', [0, 3], ['0,3']],
    ['cpuset.cpus', [], ['']],
    ['io.weight', 50, ['default 50']],
    ['io.weight', { default: 50, '8:0': 'default' }, ['default 50', '8:0 default']],
    [
      'io.max',
      { '8:0': { wbps: 1 << 20, riops: 'max' }, '8:16': { rbps: 1 } },
      ['8:0 wbps=1048576 riops=max', '8:16 rbps=1'],
    ],
    ['io.cost.qos', { '8:0': { enable: 1, ctrl: 'user' } }, ['8:0 enable=1 ctrl=user']],
    ['rdma.max', { mlx5_0: { hca_handle: 2, hca_object: 'max' } }, ['mlx5_0 hca_handle=2 hca_object=max']],
    ['misc.max', { sev: 4, sev_es: 'max' }, ['sev 4', 'sev_es max']],
    ['memory.oom.group', true, ['1']],
    ['cgroup.subtree_control', ['+pids', '-io'], ['+pids -io']],
  ])('%s takes %p', (file, value, writes) => {
    expect(format(file, value)).toEqual(writes)
  })

  test.each<[string, unknown, string, RegExp]>([
    ['memory.max', '64M', 'TypeError', /^memory\.max: expected bytes, or 'max', got "64M"/],
    [
      'memory.max',
      -1,
      'RangeError',
      /^memory\.max: expected bytes, or 'max', an integer from 0 to 18446744073709551615, got -1/,
    ],
    ['memory.max', 2n ** 64n, 'RangeError', /^memory\.max: /],
    ['memory.max', 1.5, 'RangeError', /got 1\.5$/],
    ['memory.max', NaN, 'RangeError', /got NaN$/],
    ['memory.max', true, 'TypeError', /got true$/],
    ['cpu.weight', 0, 'RangeError', /^cpu\.weight: expected a weight, an integer from 1 to 10000, got 0/],
    ['cpu.weight', 'max', 'TypeError', /^cpu\.weight: /],
    [
      'cpu.max',
      20_000,
      'TypeError',
      /^cpu\.max: expected an object such as \{ quota: 20_000, period: 100_000 \}/,
    ],
    ['cpu.max', {}, 'TypeError', /^cpu\.max: is empty/],
    ['cpu.max', { period: 1000 }, 'TypeError', /^cpu\.max\.quota: expected µs, or 'max', got undefined/],
    ['cpu.max', { quota: 20 }, 'RangeError', /^cpu\.max\.quota: .*from 1000/],
    ['cpu.max', { quota: 2000, period: 2_000_000 }, 'RangeError', /^cpu\.max\.period: .*to 1000000/],
    [
      'cpu.max',
      { quota: 2000, burst: 1 },
      'TypeError',
      /^cpu\.max\.burst: no such key; known are quota, period/,
    ],
    ['cpu.idle', 2, 'TypeError', /^cpu\.idle: expected a boolean/],
    ['cpu.uclamp.min', 101, 'RangeError', /^cpu\.uclamp\.min: expected per cent/],
    ['cpu.uclamp.min', 0.001, 'RangeError', /two decimals/],
    ['cpuset.cpus', 3, 'TypeError', /^cpuset\.cpus: expected an array/],
    ['cpuset.cpus', [-1], 'RangeError', /^cpuset\.cpus: /],
    ['cpuset.cpus', ['0-3'], 'TypeError', /^cpuset\.cpus: /],
    [
      'cpuset.cpus.partition',
      'rot',
      'TypeError',
      /^cpuset\.cpus\.partition: expected 'member' or 'root' or 'isolated'/,
    ],
    ['cgroup.type', 'domain', 'TypeError', /^cgroup\.type: expected 'threaded'/],
    ['io.weight', 10_001, 'RangeError', /^io\.weight: /],
    ['io.weight', { sda: 1 }, 'TypeError', /^io\.weight: expected a device as 'MAJOR:MINOR', got "sda"/],
    [
      'io.max',
      { '8:0': { wbsp: 1 } },
      'TypeError',
      /^io\.max\['8:0'\]\.wbsp: no such key; known are rbps, wbps, riops, wiops/,
    ],
    ['io.max', { '8:0': { wbps: 0 } }, 'RangeError', /^io\.max\['8:0'\]\.wbps: /],
    ['io.max', { '8:0': {} }, 'TypeError', /^io\.max\['8:0'\]: is empty/],
    ['io.max', { '/dev/sda': { wbps: 1 } }, 'TypeError', /^io\.max: expected a device/],
    ['io.max', 'x', 'TypeError', /^io\.max: expected an object such as/],
    ['rdma.max', { 'a b': { hca_handle: 1 } }, 'TypeError', /^rdma\.max: no key of an interface file: "a b"/],
    ['misc.max', { sev: '1\n' }, 'TypeError', /^misc\.max\.sev: /],
    ['io.cost.qos', { '8:0': { ctrl: 'a b' } }, 'TypeError', /^io\.cost\.qos\['8:0'\]\.ctrl: /],
    [
      'cgroup.subtree_control',
      ['pids'],
      'TypeError',
      /^cgroup\.subtree_control: expected changes such as '\+pids'/,
    ],
    ['cgroup.kill', false, 'TypeError', /^cgroup\.kill: expected true/],
  ])('%s does not take %p', (file, value, name, message) => {
    let error: unknown
    try {
      format(file, value)
    } catch (thrown) {
      error = thrown
    }
    expect(error).toMatchObject({ name })
    expect((error as Error).message).toMatch(message)
  })
})

on({ user: 'root', cgroup: 'v2-any' }).describe('files', () => {
  beforeAll(() => {
    mkdirSync(scratch)
  })

  afterAll(async () => {
    await (await cgroups.open(scratch)).remove({ kill: true })
  })

  const make = (name: string, files = {}): Promise<Cgroup> => cgroups.create(name, files, { parent: scratch })

  test('of the core', async () => {
    await using group = await make('core', { 'cgroup.max.depth': 3, 'cgroup.max.descendants': 'max' })
    expect(await group.get('cgroup.max.depth')).toBe(3)
    expect(await group.get('cgroup.max.descendants')).toBe('max')
    expect(await group.set('cgroup.max.descendants', 5n)).toBe(5)
    expect(await group.get('cgroup.type')).toBe('domain')
    expect(await group.get('cgroup.events')).toEqual({ populated: 0, frozen: 0 })
    expect(await group.get('cgroup.stat')).toMatchObject({ nr_descendants: 0, nr_dying_descendants: 0 })
    expect(await group.get('cgroup.procs')).toEqual([])
    expect(await group.get('cgroup.controllers')).toEqual([])
    expect(await group.set('cgroup.freeze', true)).toBe(true)
    expect(await group.set('cgroup.freeze', false)).toBe(false)
    expect((await group.get('cpu.stat')).usage_usec).toBe(0)
    expect((await group.get('memory.pressure')).full.avg10).toBe(0)
    expect((await group.get('cpu.pressure')).some.total).toBe(0)
  })

  on({ kernel: '5.14' }).test('that can only be written', async () => {
    await using group = await make('kill')
    await group.set('cgroup.kill', true)
    expect(await loose(group).get('cgroup.kill').catch(String)).toBe(
      'TypeError: file: cgroup.kill can only be written',
    )
  })

  test('nothing is written for a wrong value', async () => {
    await using group = await make('wrong')
    const before = statSync(join(group.path, 'cgroup.max.depth')).mtimeMs
    await expect(loose(group).set('cgroup.max.depth', -1)).rejects.toThrow(
      /^cgroup\.max\.depth: expected a count/,
    )
    await expect(loose(group).set('cgroup.events', {})).rejects.toThrow(
      /^file: cgroup\.events can only be read/,
    )
    await expect(loose(group).set('cgroup.max.dept', 1)).rejects.toThrow(
      /^file: no interface file "cgroup\.max\.dept"/,
    )
    await expect(loose(group).get('toString')).rejects.toThrow(/^file: /)
    expect(await group.get('cgroup.max.depth')).toBe('max')
    expect(statSync(join(group.path, 'cgroup.max.depth')).mtimeMs).toBe(before)
    await expect(make('wrong2', { 'cgroup.max.depth': -1 })).rejects.toThrow(
      /^files\['cgroup\.max\.depth'\]: /,
    )
    expect(readdirSync(scratch).filter((name) => name.endsWith('wrong2'))).toEqual([])
  })

  test('that this kernel lacks', async () => {
    await using group = await make('lacking')
    const lacking: ReadableFile[] = [
      'memory.peak',
      'cgroup.stat.local',
      'cgroup.pressure',
      'rdma.peak',
      'dmem.current',
    ]
    for (const file of lacking) {
      const since = formatOf(file)?.since ?? ''
      const error = (await group.get(file).catch((error: unknown) => error)) as {
        code?: string
        hint?: string
      }
      if (!isKernel(since))
        expect(error).toMatchObject({
          code: 'ENOENT',
          hint: `it needs Linux ${since}, this is ${facts.kernel}`,
        })
      else expect(error.hint ?? '').not.toMatch(/it needs Linux/)
    }
  })

  /** Names of those that the table lacks, that it cannot read, that lack a key, or come earlier than it says. */
  async function problems(group: Cgroup): Promise<string[]> {
    const found: string[] = []
    for (const file of readdirSync(group.path).filter((name) => statSync(join(group.path, name)).isFile())) {
      const row = formatOf(file)
      if (row === undefined) found.push(`${file} is not known`)
      else if (row.since !== undefined && !isKernel(row.since))
        found.push(`${file} is older than Linux ${row.since}`)
      if (row?.parse === undefined) continue
      try {
        const value = (await group.get(file as ReadableFile)) as object
        for (const key of row.always ?? []) if (!(key in value)) found.push(`${file} has no ${key}`)
      } catch (error) {
        // PSI of interrupts is compiled in on few kernels, and then says so.
        if (!(file.endsWith('.pressure') && (error as { code?: string }).code === 'EOPNOTSUPP'))
          found.push(String(error))
      }
    }
    return found
  }

  test('all of them are known', async () => {
    await using group = await make('known')
    await group.enable(facts.controllers)
    await using below = await cgroups.create('below', {}, { parent: group })
    expect(readdirSync(below.path).filter((name) => /^(pids|memory|cpu)\.max$/.test(name)).length).toBe(
      facts.controllers.filter((name) => ['pids', 'memory', 'cpu'].includes(name)).length,
    )
    expect(await problems(below)).toEqual([])
    const top = await cgroups.open(root)
    expect(await problems(top)).toEqual([])
    top.close()
  })

  /** Files of a cgroup that are read and written, and that tell what they took. */
  function settable(group: Loose): string[] {
    // Of processes and threads; for good; changes, and not what there is.
    const others = ['cgroup.procs', 'cgroup.threads', 'cgroup.type', 'cgroup.subtree_control']
    return readdirSync(group.path).filter((file) => {
      const row = formatOf(file)
      return row?.parse !== undefined && row.format !== undefined && !others.includes(file)
    })
  }

  test('what is read can be set, and is the same then', async () => {
    await using group = await make('same')
    await group.enable(facts.controllers)
    await using below = loose(await cgroups.create('below', {}, { parent: group }))
    const before: Record<string, unknown> = {}
    const after: Record<string, unknown> = {}
    for (const file of settable(below)) {
      const value = await below.get(file)
      // Nothing is written for no device at all.
      if (isDeepStrictEqual(value, {})) continue
      // The limit that hugetlb begins with is a number on some kernels; set, it is none.
      const unlimited = file.startsWith('hugetlb.') && typeof value === 'number' && value > 2 ** 62
      before[file] = unlimited ? 'max' : value
      after[file] = await below.set(file, value).catch(String)
    }
    expect(after).toEqual(before)
    const some = ['cgroup.freeze', 'cgroup.max.depth', 'cgroup.max.descendants']
    expect(Object.keys(after)).toEqual(expect.arrayContaining(some))
    if (facts.controllers.includes('cpu')) expect(after).toMatchObject({ 'cpu.weight': 100 })
  })

  test('a value that it had not', async () => {
    const loop = existsSync('/sys/block/loop0/dev')
      ? readFileSync('/sys/block/loop0/dev', 'utf8').trim()
      : undefined
    const resource = facts.controllers.includes('misc')
      ? /^\S+/.exec(readFileSync(join(root, 'misc.capacity'), 'utf8'))?.[0]
      : undefined
    await using group = await make('new')
    await group.enable(facts.controllers)
    await using below = loose(await cgroups.create('below', {}, { parent: group }))
    const values: [file: string, value: unknown][] = [
      ['cpu.max', { quota: 20_000, period: 100_000 }],
      ['cpu.max.burst', 10_000],
      ['cpu.idle', true],
      ['cpuset.mems', [0]],
      ['cpuset.cpus.exclusive', [0]],
      ['memory.swap.max', 3 << 20],
      ['memory.swap.high', 2 << 20],
      ['memory.zswap.max', 1 << 20],
      ['memory.zswap.writeback', false],
      ...(loop === undefined ? [] : [['io.latency', { [loop]: { target: 5000 } }] as [string, unknown]]),
      ['io.prio.class', 'idle'],
      ['hugetlb.2MB.rsvd.max', 4 << 20],
      ...(resource === undefined ? [] : [['misc.max', { [resource]: 0 }] as [string, unknown]]),
      ['cgroup.pressure', false],
    ]
    const there = values.filter(([file]) => existsSync(join(below.path, file)))
    for (const [file, value] of there) {
      const old = await below.get(file)
      expect([file, isDeepStrictEqual(old, value)]).toEqual([file, false])
      const said = await below.set(file, value).catch(String)
      expect([file, said]).toEqual([file, value])
      expect([file, await below.get(file)]).toEqual([file, value])
    }
    // Each of the hierarchy's controllers had one.
    const controllers = new Set(there.map(([file]) => controllerOf(file)))
    const wanted = ['cpu', 'cpuset', 'hugetlb'].filter((name) => facts.controllers.includes(name))
    for (const controller of wanted) expect([...controllers]).toContain(controller)
  })

  on({ controllers: ['cpu', 'memory', 'pids', 'io', 'hugetlb', 'cpuset'] }).test(
    'what is set is what is read',
    async () => {
      await using group = await make('values', {
        'memory.max': 64 << 20,
        'cpu.max': { quota: 20_000 },
        'io.weight': { default: 200 },
        'cpuset.cpus': [0],
        'pids.max': 'max',
        'hugetlb.2MB.max': 5 << 20,
      })
      expect(await group.get('memory.max')).toBe(64 << 20)
      expect(await group.get('cpu.max')).toEqual({ quota: 20_000, period: 100_000 })
      expect(await group.get('io.weight')).toEqual({ default: 200 })
      expect(await group.get('cpuset.cpus.effective')).toEqual([0])
      // Rounded down to pages.
      expect(await group.get('hugetlb.2MB.max')).toBe(4 << 20)
      expect(await group.set('memory.high', 5000)).toBe(4096)
      expect(await group.set('memory.max', 2n ** 62n)).toBe(2 ** 62)
      expect(await group.set('memory.max', 2n ** 64n - 1n)).toBe('max')
      expect(await group.set('memory.low', 'max')).toBe('max')
      expect(await group.set('memory.min', 0)).toBe(0)
      expect(await group.set('memory.oom.group', true)).toBe(true)
      expect(await group.set('cpu.max', { quota: 'max', period: 50_000 })).toEqual({
        quota: 'max',
        period: 50_000,
      })
      expect(await group.set('cpu.weight', 10_000)).toBe(10_000)
      expect(await group.set('cpu.weight.nice', -1)).toBe(-1)
      expect(await group.get('cpu.weight')).toBe(125)
      expect(await group.set('pids.max', 7)).toBe(7)
      expect(await group.get('pids.current')).toBe(0)
      expect(await group.get('pids.events')).toEqual({ max: 0 })
      expect(await group.set('cpuset.cpus', [])).toEqual([])
      expect((await group.get('cpuset.cpus.effective')).length).toBe(availableParallelism())
      expect(await group.set('cpuset.cpus.partition', 'member')).toBe('member')
      expect(await group.set('io.weight', 50)).toEqual({ default: 50 })
      expect((await group.get('memory.stat')).anon).toBe(0)
      expect((await group.get('memory.numa_stat'))['anon']?.['N0']).toBe(0)
      expect(await group.get('memory.events')).toMatchObject({ oom_kill: 0 })
      expect((await group.get('hugetlb.2MB.events')).max).toBe(0)
    },
  )

  on({ controllers: 'io' }).test('io.max of a loop device', async () => {
    const device = readFileSync('/sys/block/loop0/dev', 'utf8').trim() as '7:0'
    await using group = await make('io', { 'io.max': { [device]: { wbps: 1 << 20 } } })
    const unlimited = { rbps: 'max', wbps: 'max', riops: 'max', wiops: 'max' }
    expect(await group.get('io.max')).toEqual({ [device]: { ...unlimited, wbps: 1 << 20 } })
    expect(await group.set('io.max', { [device]: { wbps: 'max', riops: 100 } })).toEqual({
      [device]: { ...unlimited, riops: 100 },
    })
    const error = (await group
      .set('io.max', { '4095:7': { wbps: 1 } })
      .catch((error: unknown) => error)) as Error
    expect(error).toMatchObject({ code: 'ENODEV' })
    expect(error.message).toMatch(/hint: there is no such device/)
  })

  on({ controllers: 'cpuset', kernel: '6.1' }).test(
    'a partition that cannot be is told by what is read back',
    async () => {
      // Its parent is none.
      await using above = await make('above')
      await using group = await cgroups.create('partition', { 'cpuset.cpus': [0] }, { parent: above })
      expect(await group.set('cpuset.cpus.partition', 'root')).toMatch(/^root invalid|^member$/)
    },
  )

  test('of a controller that is not enabled', async () => {
    await using above = await make('above')
    await using group = await cgroups.create('disabled', {}, { parent: above })
    expect(existsSync(join(group.path, 'pids.max'))).toBe(false)
    await expect(group.set('pids.max', 1)).rejects.toMatchObject({
      code: 'ENOENT',
      hint: expect.stringMatching(/not enabled for this cgroup/) as unknown,
    })
  })
})
