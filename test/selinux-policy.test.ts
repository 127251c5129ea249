// Questions to the loaded policy, and what is said where there is none.
import { describe, expect, test } from '@jest/globals'
import { readFileSync } from 'node:fs'
import { Context, KernelError, run, selinux } from 'fancyproc'
import { bind, chdir, makePrivate, writeFile } from 'fancyproc/steps'
import { root, script } from './support/fork.ts'
import { isolated, rights } from './support/isolated.ts'
import { on } from './support/machine.ts'
import { scratch } from './support/scratch.ts'
import { sh } from './support/sh.ts'

const path = scratch()
const process_t = 'system_u:system_r:container_t:s0:c1,c2'
const file = (level: string, type = 'container_file_t'): string => `system_u:object_r:${type}:${level}`

function refused(body: () => unknown): KernelError {
  try {
    body()
  } catch (error) {
    expect(error).toBeInstanceOf(KernelError)
    return error as KernelError
  }
  throw new Error('nothing was thrown')
}

on({ lsm: ['none', 'apparmor'] }).describe('where SELinux is off', () => {
  test.each<[string, () => unknown]>([
    ['selinux_check_access', () => selinux.check(process_t, file('s0'), 'file', 'read')],
    ['security_compute_av', () => selinux.computeAv(process_t, file('s0'), 'file')],
    ['security_compute_create', () => selinux.computeCreate(process_t, file('s0'), 'file')],
    ['security_compute_member', () => selinux.computeMember(process_t, file('s0'), 'file')],
    ['security_compute_relabel', () => selinux.computeRelabel(process_t, file('s0'), 'file')],
    ['security_canonicalize_context', () => selinux.canonicalize(process_t)],
    ['security_check_context', () => selinux.validate(process_t)],
  ])('%s fails', (syscall, body) => {
    expect(refused(body)).toMatchObject({
      code: 'EOPNOTSUPP',
      syscall,
      hint: expect.stringMatching(/^SELinux is off/) as unknown,
    })
  })

  test('so do the booleans; the status says it', async () => {
    await expect(selinux.booleans()).rejects.toMatchObject({ code: 'EOPNOTSUPP' })
    expect(selinux.status()).toEqual({
      enabled: false,
      why: expect.stringMatching(/^SELinux is off/) as unknown,
    })
  })
})

describe('what is no question', () => {
  const check = selinux.check as (...args: unknown[]) => unknown
  test.each<[unknown[], RegExp]>([
    [[process_t, file('s0'), '../class', 'read'], /class: no name: "..\/class"/],
    [[process_t, file('s0'), '', 'read'], /class: is empty/],
    [[process_t, file('s0'), 'file', 'a/b'], /permission: no name/],
    [[process_t, file('s0'), 'file', ['read', 5]], /permission: expected a string/],
  ])('%j', (args, message) => {
    expect(() => check(...args)).toThrow(message)
    expect(() => check(...args)).toThrow(TypeError)
  })

  on({ lsm: 'selinux' }).test('a context with a blank, which would be two', () => {
    expect(() => selinux.check(`${process_t} ${process_t} 7`, 'x', 'file', 'read')).toThrow(
      /source: no context/,
    )
    expect(() => check(5, 'x', 'file', 'read')).toThrow(/source: expected a context/)
    expect(() => selinux.canonicalize('')).toThrow(/is empty/)
  })
})

/** What is said where files of selinuxfs have other values: to change them would be for the whole system. */
async function saidWith(values: Record<string, '0' | '1'>): Promise<unknown> {
  const steps = Object.entries(values).flatMap(([name, value]) => [
    writeFile(path(name), value, { flags: ['O_CREAT'] }),
    bind(path(name), `/sys/fs/selinux/${name}`),
  ])
  const program = `
    import { selinux } from 'fancyproc'
    const [source, target] = ['${process_t}', '${file('s0', 'shadow_t')}']
    const { enforcing, handleUnknown } = selinux.status()
    const { allowed } = selinux.computeAv(source, target, 'file')
    const may = selinux.check(source, target, 'file', 'read')
    console.log(JSON.stringify({ enforcing, handleUnknown, may, allowed: allowed.includes('read') }))`
  const own = makePrivate('/', { recursive: true })
  const options = isolated(['mnt'], own, steps, chdir(root))
  const { stdout } = await run(process.execPath, script(program), options)
  return JSON.parse(stdout)
}

on({ lsm: 'selinux', ...rights }).test(
  'what is not enforced is not refused, but not allowed either',
  async () => {
    const said = { enforcing: true, handleUnknown: 'allow', may: false, allowed: false }
    expect(await saidWith({})).toEqual(said)
    expect(await saidWith({ enforce: '0', deny_unknown: '1' })).toEqual({
      ...said,
      enforcing: false,
      handleUnknown: 'deny',
      may: true,
    })
    const rejecting = { reject_unknown: '1', deny_unknown: '1' } as const
    expect(await saidWith(rejecting)).toEqual({ ...said, handleUnknown: 'reject' })
  },
)

on({ lsm: 'selinux' }).describe('the policy', () => {
  // By scripts/vm/guest/tests.cil.
  test('refuses nothing to a domain that is permissive, and says what it does not allow', () => {
    const permissive = process_t.replace('container_t', 'container_kvm_t')
    expect(selinux.check(permissive, file('s0', 'shadow_t'), 'file', 'read')).toBe(true)
    const decision = selinux.computeAv(permissive, file('s0', 'shadow_t'), 'file')
    expect(decision.permissive).toBe(true)
    expect(decision.allowed).not.toContain('read')
  })

  test('lets a container use its own files, and no other ones', () => {
    expect(selinux.check(process_t, file('s0:c1,c2'), 'file', 'read')).toBe(true)
    expect(selinux.check(process_t, file('s0:c1,c2'), 'file', ['read', 'open', 'write'])).toBe(true)
    expect(selinux.check(process_t, file('s0:c1,c3'), 'file', 'read')).toBe(false)
    expect(selinux.check(process_t, file('s0:c1,c3'), 'file', ['getattr', 'read'])).toBe(false)
    expect(selinux.check(process_t, file('s0', 'shadow_t'), 'file', 'read')).toBe(false)
    const unconfined = Context.parse('unconfined_u:unconfined_r:unconfined_t:s0')
    expect(selinux.check(unconfined, Context.parse(process_t), 'process', 'transition')).toBe(true)
    expect(selinux.check(unconfined, unconfined, 'process', [])).toBe(true)
  })

  test('tells all of a decision', () => {
    const decision = selinux.computeAv(process_t, file('s0:c1,c2'), 'file')
    expect(decision.allowed).toEqual(expect.arrayContaining(['entrypoint', 'getattr', 'open', 'read']))
    expect(decision.permissive).toBe(false)
    expect(decision.sequence).toBeGreaterThanOrEqual(1)
    expect(decision.auditallow).toEqual([])
    expect(decision.auditdeny.length).toBeGreaterThan(0)
    expect(selinux.computeAv(process_t, file('s0', 'shadow_t'), 'file').allowed).not.toContain('read')
  })

  test('says what a new object would be', () => {
    const own = 'unconfined_u:unconfined_r:unconfined_t:s0'
    const named = (...name: string[]): string =>
      selinux.computeCreate(own, file('s0', 'tmp_t'), 'file', ...(name as [string?]))
    expect(named()).toBe('unconfined_u:object_r:user_tmp_t:s0')
    // It may depend on the name: this one is in a rule of scripts/vm/guest/tests.cil.
    expect(named('fancy %+ü')).toBe('unconfined_u:object_r:user_home_t:s0')
    expect(named('fancy %+u')).toBe('unconfined_u:object_r:user_tmp_t:s0')
    expect(selinux.computeMember(own, file('s0', 'tmp_t'), 'dir')).toMatch(/^\w+:object_r:\w+:s0$/)
    expect(selinux.computeRelabel(own, file('s0', 'tty_device_t'), 'chr_file')).toMatch(/:object_r:\w+:s0$/)
  })

  test('knows contexts, and prints them its way', () => {
    expect(selinux.canonicalize('system_u:system_r:container_t:s0:c2,c1')).toBe(process_t)
    expect(selinux.validate(Context.parse(process_t))).toBe(true)
    expect(selinux.validate('system_u:system_r:nonsense_t:s0')).toBe(false)
    expect(refused(() => selinux.canonicalize('nonsense'))).toMatchObject({
      code: 'EINVAL',
      syscall: 'security_canonicalize_context',
      path: '/sys/fs/selinux/context',
      dest: 'nonsense',
      hint: expect.stringContaining('knows no such context') as unknown,
    })
  })

  test('has no such class, permission or context', () => {
    expect(refused(() => selinux.check(process_t, process_t, 'nothing', 'read'))).toMatchObject({
      code: 'ENOENT',
      hint: 'the loaded policy has no class nothing',
    })
    expect(refused(() => selinux.check(process_t, process_t, 'process', 'read'))).toMatchObject({
      code: 'ENOENT',
      hint: expect.stringMatching(/process has .*transition/) as unknown,
    })
    expect(refused(() => selinux.check('a:b:c:s0', process_t, 'process', 'fork'))).toMatchObject({
      code: 'EINVAL',
    })
  })

  test('has booleans', async () => {
    const booleans = await selinux.booleans()
    expect(booleans['allow_execmem']).toEqual({ current: true, pending: true })
    for (const line of sh('getsebool -a').split('\n')) {
      const [name = '', value] = line.split(' --> ')
      // At this time another file's tests may be turning it.
      if (name === 'fancyproc_test') continue
      expect({ name, value: booleans[name]?.current === true ? 'on' : 'off' }).toEqual({ name, value })
    }
  })

  on({ tools: 'sestatus' }).test('has the status that sestatus prints', () => {
    const lines = sh('sestatus').split('\n')
    const said = new Map(lines.map((line) => /^([^:]+):\s+(.*)$/.exec(line)?.slice(1) as [string, string]))
    expect(selinux.status()).toMatchObject({
      enabled: said.get('SELinux status') === 'enabled',
      enforcing: said.get('Current mode') === 'enforcing',
      mls: said.get('Policy MLS status') === 'enabled',
      handleUnknown: said.get('Policy deny_unknown status') === 'allowed' ? 'allow' : 'deny',
      policyVersion: Number(said.get('Max kernel policy version')),
    })
  })

  test('has a status', () => {
    expect(selinux.status()).toMatchObject({
      enabled: true,
      enforcing: true,
      mls: true,
      policyVersion: Number(readFileSync('/sys/fs/selinux/policyvers', 'utf8')),
      handleUnknown: 'allow',
      nnpNosuidTransition: true,
      capabilities: { open_perms: true, always_check_network: false },
    })
  })
})
