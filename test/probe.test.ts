// probe() on whatever machine this is: each answer is held against what the machine says of itself.
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { readFileSync } from 'node:fs'
import { release } from 'node:os'
import { probe, type Probe, run } from 'fancyproc'
import { mapUser, writeFile } from 'fancyproc/steps'
import { root, script } from './support/fork.ts'
import { facts, on } from './support/machine.ts'
import { type Leaks, leaks, settled } from './support/state.ts'

let before: Leaks
let found: Probe
beforeAll(async () => {
  // Whoever watches cgroups for us stays.
  await probe()
  before = leaks()
  found = await probe()
})
afterAll(async () => {
  expect(await settled(before)).toEqual(before)
})

const kinds = ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'time', 'user', 'uts']

test('the kernel', () => {
  expect(found.kernel).toBe(release())
})

test('every operation is there since 5.10 at the latest, and each says since when', () => {
  const answers = Object.entries(found.operations)
  expect(answers.length).toBeGreaterThan(30)
  for (const [name, answer] of answers)
    expect({ name, ...answer }).toEqual({ name, available: true, since: expect.stringMatching(/^\d+\.\d+/) })
})

on({ user: 'root' }).test('namespaces: root may have every kind', () => {
  expect(Object.keys(found.namespaces).sort()).toEqual(kinds)
  for (const answer of Object.values(found.namespaces)) expect(answer).toMatchObject({ available: true })
})

on({ user: 'ordinary', userns: true }).test(
  'namespaces: an ordinary user has them with a user namespace',
  () => {
    const { user, ...others } = found.namespaces
    expect(user).toMatchObject({ available: true })
    for (const answer of Object.values(others))
      expect(answer).toMatchObject({ available: false, why: expect.stringMatching(/EPERM.*'user'/s) })
    for (const answer of Object.values(found.withUser)) expect(answer).toMatchObject({ available: true })
  },
)

on({ userns: true }).test('namespaces: where no user namespace may be made, why', async () => {
  const text = `
    import { probe } from 'fancyproc'
    console.log(JSON.stringify((await probe()).withUser))`
  const { stdout, stderr } = await run(process.execPath, script(text), {
    namespaces: ['user'],
    steps: [mapUser(), writeFile('/proc/sys/user/max_user_namespaces', '0', { flags: [] })],
    env: { PATH: process.env['PATH'], PWD: root },
  })
  expect(stderr).toBe('')
  const answers = Object.values(JSON.parse(stdout) as Probe['withUser'])
  expect(answers).toHaveLength(kinds.length)
  for (const answer of answers)
    expect(answer).toMatchObject({
      available: false,
      why: expect.stringMatching(/ENOSPC.*max_user_namespaces/),
    })
})

test('SELinux', () => {
  if (facts.lsm === 'selinux') expect(found.selinux).toEqual({ available: true })
  else expect(found.selinux).toEqual({ available: false, why: expect.stringMatching(/policy|boot/) })
})

on({ cgroup: 'v2' }).test('controllers: those of the hierarchy, and no others', () => {
  const there = readFileSync('/sys/fs/cgroup/cgroup.controllers', 'utf8').trim().split(' ')
  const answers = Object.entries(found.controllers)
  const having = (available: boolean): string[] =>
    answers.filter(([, answer]) => answer.available === available).map(([name]) => name)
  expect(having(true).sort()).toEqual(there.sort())
  expect(having(false).length + there.length).toBe(answers.length)
})

on({ cgroup: 'hybrid' }).test('controllers: where v1 has them, it says so', () => {
  for (const name of ['memory', 'pids'])
    expect(found.controllers[name]).toEqual({ available: false, why: expect.stringMatching(/v1/) })
})

on({ user: 'root', cgroup: 'v2-any' }).test('a cgroup to be born in', () => {
  expect(found.cgroup).toEqual({ available: true })
})

on({ user: 'ordinary', cgroup: 'v2-any' }).test('no cgroup without delegation, and what would help', () => {
  expect(found.cgroup).toEqual({ available: false, why: expect.stringMatching(/delegated/) })
})
