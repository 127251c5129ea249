// Attributes of threads and processes: what the library says is what the kernel's files say.
import { expect, test } from '@jest/globals'
import { readFileSync, writeFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { KernelError, selinux, spawn } from 'fancyproc'
import { native } from '../lib/native.ts'
import { on } from './support/machine.ts'

const own = [
  'getcon',
  'getprevcon',
  'getexeccon',
  'getfscreatecon',
  'getkeycreatecon',
  'getsockcreatecon',
] as const
const file = (attribute: string, task = 'thread-self'): string =>
  readFileSync(`/proc/${task}/attr/${attribute}`, 'utf8').replace(/[\0\n]+$/, '')

/** Sets it for the time of `body`; a newline clears it. */
function having(attribute: string, label: string, body: () => void): void {
  const path = `/proc/thread-self/attr/${attribute}`
  writeFileSync(path, label)
  try {
    body()
  } finally {
    writeFileSync(path, '\n')
  }
}

on({ lsm: ['none', 'apparmor'] }).describe('where SELinux is off', () => {
  test.each([...own, 'getpidcon', 'getpidprevcon', 'getpidattr'] as const)('%s fails', (name) => {
    expect(() => selinux[name](1)).toThrow(KernelError)
    expect(() => selinux[name](1)).toThrow(/^EOPNOTSUPP.*\n {2}hint: SELinux is off/)
  })
})

test('a pid is a positive number', () => {
  const wrong = selinux as unknown as Record<string, (pid: unknown) => unknown>
  for (const name of ['getpidcon', 'getpidprevcon', 'getpidattr']) {
    expect(() => wrong[name]?.(0)).toThrow(`${name}: pid: expected an integer from 1`)
    expect(() => wrong[name]?.('1')).toThrow(`${name}: pid: expected a number`)
  }
})

const here = on({ lsm: 'selinux' })

here.describe('the calling thread', () => {
  test('has a label, and had one', () => {
    expect(selinux.getcon()).toBe(file('current'))
    expect(selinux.getprevcon()).toBe(file('prev'))
    expect(selinux.getcon()).toMatch(/^\w+:\w+:\w+:s0/)
  })

  test('has nothing set at first', () => {
    expect(selinux.getexeccon()).toBeNull()
    expect(selinux.getfscreatecon()).toBeNull()
    expect(selinux.getkeycreatecon()).toBeNull()
    expect(selinux.getsockcreatecon()).toBeNull()
  })

  test.each([
    ['exec', 'getexeccon', 'unconfined_u:unconfined_r:unconfined_t:s0'],
    ['fscreate', 'getfscreatecon', 'unconfined_u:object_r:user_tmp_t:s0'],
    ['keycreate', 'getkeycreatecon', 'unconfined_u:unconfined_r:unconfined_t:s0'],
    ['sockcreate', 'getsockcreatecon', 'unconfined_u:unconfined_r:unconfined_t:s0'],
  ] as const)('has set %s', (attribute, name, label) => {
    having(attribute, label, () => {
      expect(selinux[name]()).toBe(label)
      expect(selinux.getpidattr(process.pid)[attribute]).toBe(file(attribute, String(process.pid)) || null)
    })
    expect(selinux[name]()).toBeNull()
  })

  test('is not the other ones', async () => {
    const text = `
      const fs = require('node:fs')
      fs.writeFileSync('/proc/thread-self/attr/fscreate', 'unconfined_u:object_r:user_tmp_t:s0')
      require('node:worker_threads').parentPort.postMessage(fs.readFileSync('/proc/thread-self/attr/fscreate', 'utf8'))`
    const worker = new Worker(text, { eval: true })
    const said = await new Promise<string>((resolve, reject) =>
      worker.once('message', resolve).once('error', reject),
    )
    await worker.terminate()
    expect(said).toContain('user_tmp_t')
    expect(selinux.getfscreatecon()).toBeNull()
  })
})

on({ lsm: 'selinux', kernel: '6.8' }).test('lsm_get_self_attr(2) says the same as the files', () => {
  const numbers = { current: 100, exec: 101, fscreate: 102, keycreate: 103, prev: 104, sockcreate: 105 }
  const said = (attribute: keyof typeof numbers): unknown => {
    const value = native().lsmGetSelfAttr(numbers[attribute])
    return typeof value === 'string' ? value.replace(/\0$/, '') : value
  }
  for (const attribute of ['current', 'prev', 'exec', 'fscreate', 'keycreate', 'sockcreate'] as const)
    expect({ attribute, said: said(attribute) }).toEqual({ attribute, said: file(attribute) })
  having('fscreate', 'unconfined_u:object_r:user_tmp_t:s0', () => {
    expect(said('fscreate')).toBe(file('fscreate'))
    expect(said('fscreate')).toContain('user_tmp_t')
  })
  expect(said('current')).toBe(selinux.getcon())
})

test('before 6.8 there is no such call', () => {
  const said = native().lsmGetSelfAttr(100)
  const [major = 0, minor = 0] = readFileSync('/proc/sys/kernel/osrelease', 'utf8').split('.').map(Number)
  if (major > 6 || (major === 6 && minor >= 8)) expect(said).not.toBe(-38)
  else expect(said).toBe(-38)
})

here.describe('a process', () => {
  test('has all of them', async () => {
    const child = await spawn('sleep', ['1000']).spawned
    const pid = child.pid ?? 0
    try {
      expect(selinux.getpidcon(pid)).toBe(file('current', String(pid)))
      expect(selinux.getpidprevcon(pid)).toBe(file('prev', String(pid)))
      expect(selinux.getpidattr(pid)).toEqual({
        current: selinux.getcon(),
        prev: selinux.getcon(),
        exec: null,
        fscreate: null,
        keycreate: null,
        sockcreate: null,
      })
    } finally {
      child.kill('SIGKILL')
    }
    await child.exited
    // Of others', too.
    expect(selinux.getpidcon(1)).toBe(file('current', '1'))
    expect(selinux.getpidattr(1)).toMatchObject({ current: file('current', '1'), prev: file('prev', '1') })
    expect(() => selinux.getpidcon(pid)).toThrow(/^(ENOENT|ESRCH).*\n {2}hint: there is no such process/)
  })
})
