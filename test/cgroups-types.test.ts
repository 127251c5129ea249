// What does not compile of cgroups' files; see types.test.ts.
import { expect } from '@jest/globals'
import { type Cgroup, type CgroupFiles, cgroups } from 'fancyproc'
import { on } from './support/machine.ts'

/** What has to compile, and what must not; it is not run. */
export async function compiles(group: Cgroup): Promise<unknown[]> {
  const most: number | 'max' = await group.get('memory.max')
  const cpus: number[] = await group.get('cpuset.cpus.effective')
  const { quota, period }: { quota: number | 'max'; period: number } = await group.get('cpu.max')
  const wbps: number | 'max' | undefined = (await group.get('io.max'))['7:0']?.wbps
  const big: number | 'max' = await group.get('hugetlb.16MB.max')
  const reserved: number = await group.get('hugetlb.1GB.rsvd.current')
  const { usage_usec, nr_throttled, another } = await group.get('cpu.stat')
  const counters: [number, number | undefined, number | undefined] = [usage_usec, nr_throttled, another]
  const full: number | undefined = (await group.get('cpu.pressure')).full?.avg10
  const accepted: number | 'max' = await group.set('memory.max', 1n << 60n)
  await group.set('io.max', { '7:0': { wbps: 1 << 20, riops: 'max' } })
  await group.set('io.weight', { default: 100, '8:0': 'default' })
  await group.set('cpuset.cpus', [0, 1] as const)

  // @ts-expect-error a misspelt file
  await group.get('memory.maxx')
  // @ts-expect-error it can only be written
  await group.get('cgroup.kill')
  // @ts-expect-error no size of a page
  await group.get('hugetlb.huge.max')
  // @ts-expect-error it may be 'max'
  const number: number = await group.get('memory.max')
  // @ts-expect-error full came with 5.13
  const later: number = (await group.get('cpu.pressure')).full.avg10
  // @ts-expect-error not every kernel has it
  const key: number = (await group.get('cpu.stat')).nr_throttled
  // @ts-expect-error it can only be read
  await group.set('memory.current', 1)
  // @ts-expect-error units are for write()
  await group.set('memory.max', '64M')
  // @ts-expect-error a misspelt key
  await group.set('io.max', { '7:0': { wbsp: 1 } })
  // @ts-expect-error a device has two numbers
  await group.set('io.max', { sda: { wbps: 1 } })
  // @ts-expect-error the quota comes first
  await group.set('cpu.max', { period: 1000 })
  // @ts-expect-error an array is expected
  await group.set('cpuset.cpus', 3)
  // @ts-expect-error no way back
  await group.set('cgroup.type', 'domain')
  return [most, cpus, quota, period, wbps, big, reserved, counters, full, accepted, number, later, key]
}

export const given: CgroupFiles[] = [
  { 'memory.max': 64 << 20, 'pids.max': 16, 'cpu.max': { quota: 20_000 }, 'hugetlb.2MB.max': 4n },
  { 'memory.max': '64M', 'cpu.max': '20000', 'another.file': 1, 'cpuset.cpus': [0] },
  // @ts-expect-error no number of bytes
  { 'memory.max': true },
  // @ts-expect-error a misspelt key
  { 'cpu.max': { qouta: 20_000 } },
  // @ts-expect-error no number of bytes
  { 'hugetlb.2MB.max': {} },
]

on({ user: 'root', cgroup: 'v2-any' }).test('what does not compile throws', async () => {
  const results = await Promise.allSettled(given.slice(2).map((files) => cgroups.create('types', files)))
  expect(results.map((result) => result.status === 'rejected' && String(result.reason))).toEqual([
    "TypeError: files['memory.max']: expected bytes, or 'max', got true",
    "TypeError: files['cpu.max'].qouta: no such key; known are quota, period",
    "TypeError: files['hugetlb.2MB.max']: expected bytes, or 'max', got {}",
  ])
})
