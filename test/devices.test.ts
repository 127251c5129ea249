// Devices of a cgroup: what the program allows and denies, and that there is no moment without one.
import { describe, expect, test } from '@jest/globals'
import { closeSync, openSync } from 'node:fs'
import { type Cgroup, cgroups, type DeviceRule, Fd, run, spawn } from 'fancyproc'
import { attachDeviceProgram, loadDeviceProgram } from '../lib/bpf.ts'
import { dockerDevices } from '../examples/docker/devices.ts'
import { compileDevices } from '../lib/cgroups/devices.ts'
import { on, patient, scaled } from './support/machine.ts'
import { scratch } from './support/scratch.ts'
import { sh } from './support/sh.ts'
import { leaks, settled } from './support/state.ts'

const path = scratch()

/** Which of these commands a shell in the cgroup can do. */
async function can(cgroup: Cgroup, commands: Readonly<Record<string, string>>): Promise<string> {
  const script = Object.entries(commands).map(([name, command]) => `(${command}) && printf '%s ' '${name}'`)
  const { stdout } = await run('sh', ['-c', `${script.join('\n')}\n:`], { cgroup })
  return stdout.trim()
}

const uses = {
  'null r': ': </dev/null',
  'null w': ': >/dev/null',
  'null rw': ': <>/dev/null',
  'zero r': ': </dev/zero',
  'full r': ': </dev/full',
}

const mknod = (): Record<string, string> => ({
  'mknod c': `mknod ${path('c')} c 1 3 && rm ${path('c')}`,
  'mknod b': `mknod ${path('b')} b 7 250 && rm ${path('b')}`,
  mkfifo: `mknod ${path('p')} p && rm ${path('p')}`,
})

describe('bad input, before anything has happened', () => {
  test.each<[unknown, string]>([
    [7, 'setDevices: rules: expected an array, got 7'],
    [[7], 'setDevices: rules[0]: expected a rule such as'],
    [['c 1:3'], 'setDevices: rules[0]: expected a rule such as'],
    [['c 1:3 rwx'], 'setDevices: rules[0]: expected a rule such as'],
    [['c 1:3 rr'], "setDevices: rules[0].access: expected some of 'r', 'w' and 'm', got \"rr\""],
    [['a', 'c 4096:3 r'], 'setDevices: rules[1].major: expected an integer from 0 to 4095, got 4096'],
    [[{ type: 'p', access: 'r' }], "setDevices: rules[0].type: expected 'a', 'b' or 'c', got \"p\""],
    [
      [{ type: 'c', major: 1, minor: -1, access: 'r' }],
      'setDevices: rules[0].minor: expected an integer from 0',
    ],
    [[{ access: '' }], 'setDevices: rules[0].access: expected some of'],
    [
      [{ access: 'r', allow: false }],
      'setDevices: rules[0].allow: no such key; known are type, major, minor, access',
    ],
    [Array(257).fill('a'), 'setDevices: rules: 257 rules, more than 256'],
  ])('%#', (rules, message) => {
    expect(() => compileDevices(rules)).toThrow(message)
  })
})

on({ user: 'root', cgroup: 'v2-any' }).describe('the program', () => {
  test('allows what the rules say, denies the rest', async () => {
    await using cgroup = await cgroups.create('devices')
    const all = { ...uses, ...mknod() }
    const everything = Object.keys(all).join(' ')
    expect(await can(cgroup, all)).toBe(everything)
    const results: [(DeviceRule | string)[], string][] = [
      [[], 'mkfifo'],
      [['c 1:3 r'], 'null r mkfifo'],
      // Together they allow what neither does alone.
      [['c 1:3 r', { type: 'c', major: 1, access: 'w' }], 'null r null w null rw mkfifo'],
      [['b 1:3 rwm', 'c 1:5 r'], 'zero r mkfifo'],
      [['c *:* m'], 'mknod c mkfifo'],
      [[{ type: 'a', major: '*', minor: '*', access: 'm' }], 'mknod c mknod b mkfifo'],
      [['a *:* r'], 'null r zero r full r mkfifo'],
      [['a'], everything],
    ]
    for (const [rules, wanted] of results) {
      await cgroup.setDevices(rules)
      expect([rules, await can(cgroup, all)]).toEqual([rules, wanted])
    }
    await cgroup.unsetDevices()
    expect(await can(cgroup, all)).toBe(everything)
  })

  test("docker's list: any node may be made, its few may be opened", async () => {
    await using cgroup = await cgroups.create('devices-docker')
    const made = { kmsg: 'c 1 11', tun: 'c 10 200', loop: 'b 7 0' }
    for (const [name, device] of Object.entries(made)) sh(`mknod '${path(name)}' ${device}`)
    const allowed = {
      ...uses,
      'random r': ': </dev/random',
      'urandom rw': ': <>/dev/urandom',
      'ptmx rw': ': <>/dev/ptmx',
      ...mknod(),
    }
    // EPERM is the program's alone: without a driver it is another one.
    const refused = (use: string): string => `(: ${use}) 2>&1 | grep -q 'Operation not permitted'`
    const denied = {
      'kmsg r': refused(`<${path('kmsg')}`),
      'kmsg w': refused(`>>${path('kmsg')}`),
      'tun r': refused(`<${path('tun')}`),
      'loop r': refused(`<${path('loop')}`),
    }
    expect(await can(cgroup, { ...allowed, ...denied })).toBe(Object.keys(allowed).join(' '))
    await cgroup.setDevices(dockerDevices)
    expect(await can(cgroup, { ...allowed, ...denied })).toBe(
      Object.keys({ ...allowed, ...denied }).join(' '),
    )
  })

  test('counts below, and what is open stays open', async () => {
    await using cgroup = await cgroups.create('devices-above')
    await using below = await cgroups.create('below', {}, { parent: cgroup })
    await cgroup.setDevices(['c 1:3 rw'])
    await below.setDevices(['c 1:3 rw', 'c 1:5 rw'])
    expect(await can(below, uses)).toBe('null r null w null rw')
    expect(await below.devicePrograms()).toHaveLength(1)
    const zero = openSync('/dev/zero', 'r')
    const { stdout } = await run('head', ['-c', '3'], { cgroup: below, stdio: [zero, 'pipe', 'pipe'] })
    closeSync(zero)
    expect(stdout).toBe('\0\0\0')
  })

  test('one takes the place of the other', async () => {
    await using cgroup = await cgroups.create('devices-one')
    expect(await cgroup.devicePrograms()).toEqual([])
    await cgroup.setDevices(['a'])
    const [first] = await cgroup.devicePrograms()
    await Promise.all([
      cgroup.setDevices(['c 1:3 r']),
      cgroup.setDevices(['c 1:5 r']),
      cgroup.setDevices(['c 1:7 r']),
    ])
    const [last, ...others] = await cgroup.devicePrograms()
    expect(others).toEqual([])
    expect(last).toEqual({ id: expect.any(Number) as unknown, name: 'fancyproc_dev', ours: true })
    expect(last?.id).not.toBe(first?.id)
    expect(await can(cgroup, uses)).toBe('full r')
    await cgroup.unsetDevices()
    await cgroup.unsetDevices()
    expect(await cgroup.devicePrograms()).toEqual([])
  })

  test('one takes the place of all that other processes have attached at the same time', async () => {
    await using cgroup = await cgroups.create('devices')
    using directory = new Fd(openSync(cgroup.path, 'r'))
    // As do two who have looked before either had attached his own.
    for (const rule of ['c 1:3 r', 'c 1:5 r', 'c 1:7 r']) {
      using program = await loadDeviceProgram(compileDevices([rule]), 'fancyproc_dev')
      await attachDeviceProgram(directory.fd, program)
    }
    using another = await loadDeviceProgram(compileDevices(['a']), 'another')
    await attachDeviceProgram(directory.fd, another)
    expect(await cgroup.devicePrograms()).toHaveLength(4)
    expect(await can(cgroup, uses)).toBe('')
    await cgroup.setDevices(['c 1:3 rw', 'c 1:5 r'])
    const programs = await cgroup.devicePrograms()
    expect(programs.map(({ name }) => name).sort()).toEqual(['another', 'fancyproc_dev'])
    expect(await can(cgroup, uses)).toBe('null r null w null rw zero r')
  })

  test('many rules', async () => {
    await using cgroup = await cgroups.create('devices-many')
    const rules = Array.from({ length: 255 }, (_, i): DeviceRule => ({
      type: 'c',
      major: 300 + i,
      minor: i,
      access: 'r',
    }))
    await cgroup.setDevices([...rules, 'c 1:3 rw'])
    expect(await can(cgroup, uses)).toBe('null r null w null rw')
  })

  test('is replaced without a gap', async () => {
    await using cgroup = await cgroups.create('devices-gap')
    const lists = [
      ['c 1:3 rw', 'c 1:9 r'],
      ['c 1:3 rw', 'c 1:8 r'],
    ]
    await cgroup.setDevices(lists[0] ?? [])
    // /dev/full is in neither list, /dev/null in both.
    const loop = `console.log('begins')
      const { closeSync, openSync } = require('node:fs')
      let rounds = 0, passed = 0, failed = 0
      const use = (device) => { try { closeSync(openSync(device, 'r')); return true } catch { return false } }
      const timer = setInterval(() => {
        for (let i = 0; i < 200; i++) { rounds++; passed += use('/dev/full'); failed += !use('/dev/null') }
      }, 1)
      process.stdin.on('data', () => { clearInterval(timer); console.log(JSON.stringify({ rounds, passed, failed })); process.exit() })`
    await using child = spawn(process.execPath, ['-e', loop], { cgroup, timeout: patient(60_000) })
    let said = ''
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (said += text))
    const closed = new Promise((resolve) => child.once('close', resolve))
    while (!said.startsWith('begins')) await new Promise((resolve) => setTimeout(resolve, 5))
    for (let i = 0; i < scaled(100); i++) await cgroup.setDevices(lists[i % 2] ?? [])
    child.stdin?.write('end')
    await closed
    const { rounds, passed, failed } = JSON.parse(said.replace('begins', '')) as Record<string, number>
    expect(rounds).toBeGreaterThan(0)
    expect({ passed, failed }).toEqual({ passed: 0, failed: 0 })
  })

  test('leaves no descriptor behind, not when it fails either', async () => {
    const cgroup = await cgroups.create('devices-fds')
    await cgroup.setDevices(['a'])
    const before = leaks()
    await cgroup.setDevices(['c 1:3 r'])
    await cgroup.devicePrograms()
    await cgroup.unsetDevices()
    expect((await settled(before)).fds).toEqual(before.fds)
    await cgroup.remove()
    const after = leaks()
    for (const use of [cgroup.setDevices([]), cgroup.unsetDevices(), cgroup.devicePrograms()]) {
      await expect(use).rejects.toMatchObject({ code: 'EBADF' })
    }
    expect((await settled(after)).fds).toEqual(after.fds)
  })

  test("says what the verifier says of another's instructions", async () => {
    // r0 = r5; exit
    const wrong = Uint8Array.from([0xbf, 0x50, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0])
    await expect(loadDeviceProgram(wrong, 'wrong')).rejects.toMatchObject({
      name: 'KernelError',
      code: 'EACCES',
      syscall: 'bpf(BPF_PROG_LOAD)',
      hint: expect.stringMatching(/^the verifier says:\n[^]*R5 !read_ok/) as unknown,
    })
  })
})

on({ user: 'ordinary' }).test('an ordinary user may not', async () => {
  await expect(loadDeviceProgram(compileDevices([]), 'mine')).rejects.toMatchObject({
    code: 'EPERM',
    hint: expect.stringMatching(/^eBPF takes CAP_SYS_ADMIN/) as unknown,
  })
})
