// What a step prints is what strace shows when the kernel is asked to do it.
import { describe, expect, test } from '@jest/globals'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import { Context } from '../lib/selinux/context.ts'
import * as steps from '../lib/steps/index.ts'
import { validateOrder } from '../lib/steps/order.ts'
import { on } from './support/machine.ts'

interface Told {
  operation: string
  result: number
  call: number
  lines: string[]
}

const traced = [
  'access,unshare,setns,setresuid,setresgid,setgroups,mount,umount2,pivot_root,chdir,fchdir,chroot,umask,mkdirat,symlinkat',
  'mknodat,openat,openat2,write,close,close_range,dup3,fcntl,setsid,ioctl,sethostname,setdomainname,prctl,prlimit64,rt_sigaction',
].join(',')

/** A trace's calls without their results, by the markers between. */
function sections(trace: string): string[][] {
  const found: string[][] = []
  let open: string[] | undefined
  for (const line of trace.split('\n')) {
    if (line.startsWith('access("/fancyproc-marker/end"')) open = undefined
    else if (line.startsWith('access("/fancyproc-marker/')) found.push((open = []))
    // Node wakes its event loop, when other threads of it have to tell something.
    else if (/^write\(\d+, "\\1(\\0){7}", 8\)/.test(line)) continue
    else open?.push(line.replace(/ += +(-?\d+|\?|0x[0-9a-f]+)( .*)?$/, ''))
  }
  return found
}

/** Operations through /proc open it first, and close it in the end, when they run on a thread. */
function withoutProcfs(lines: string[]): string[] {
  return lines[0]?.startsWith('openat(AT_FDCWD, "/proc", ') ? lines.slice(1, -1) : lines
}

function anyFd(line: string): string {
  return line
    .replace(/^(openat|write|close)\(\d+/, '$1(<fd>')
    .replace(/^(openat|write|close)\(<\w+>/, '$1(<fd>')
}

describe('format', () => {
  on({ tools: 'strace', sanitizer: false }).test('prints each call as strace does', () => {
    const directory = mkdtempSync(join(tmpdir(), 'fancyproc-'))
    try {
      const program = fileURLToPath(new URL('programs/calls.mjs', import.meta.url))
      const [trace, said] = [join(directory, 'trace'), join(directory, 'said')]
      const strace = ['-s', '8192', '-e', `trace=${traced}`, '-e', 'signal=none', '-o', trace]
      const { status, stderr } = spawnSync('strace', [...strace, process.execPath, program, said], {
        encoding: 'utf8',
      })
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
      const told = JSON.parse(readFileSync(said, 'utf8')) as Told[]
      const shown = sections(readFileSync(trace, 'utf8')).map(withoutProcfs)
      expect(shown).toHaveLength(told.length)
      for (const [i, { lines, result, call }] of told.entries()) {
        // Opening failed: there was nothing to write to.
        const made = result < 0 && call === 0 ? lines.slice(0, 1) : lines
        expect(shown[i]?.map(anyFd)).toEqual(made.map(anyFd))
      }
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  })

  test('prints nested lists a line a call, and an fd of a step by its opener', () => {
    const root = steps.open('/srv', ['O_PATH', 'O_DIRECTORY'])
    expect(steps.format([root, [steps.fchdir(root), [steps.chroot('.')]]])).toBe(
      'openat(AT_FDCWD, "/srv", O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY)\nfchdir(<openat>)\nchroot(".")',
    )
  })

  test('is what console.log shows', () => {
    expect(inspect(steps.sethostname('c1'))).toBe('sethostname("c1", 2)')
    expect(String(steps.clone(['pid', 'net']))).toContain('|CLONE_NEWPID|CLONE_NEWNET, exit_signal=0')
  })

  test('has the contexts of a mount in quotes, behind its other options', () => {
    const target = '/mnt'
    const context = new Context({ user: 'a', role: 'b', type: 'c', level: 's0:c1,c2' })
    const data = (options: object): unknown => steps.mount({ target, ...options }).args[4]
    expect(data({ context, data: 'size=1m' })).toBe('size=1m,context="a:b:c:s0:c1,c2"')
    expect(data({ rootcontext: 'r:r:r', fscontext: 'f:f:f', defcontext: context })).toBe(
      'fscontext="f:f:f",rootcontext="r:r:r",defcontext="a:b:c:s0:c1,c2"',
    )
    expect(data({ flags: ['MS_REMOUNT', 'MS_BIND'], context: 'a:b:c' })).toBe('context="a:b:c"')
  })

  test('cuts long data, as strace does', () => {
    const [, write] = steps.writeFile('/x', 'y'.repeat(5000)).calls
    expect(write?.args).toEqual(['<openat>', `"${'y'.repeat(4096)}"...`, '5000'])
  })

  test.each([
    [steps.setexeccon('a:b:c:s0'), 'SELINUX', 'EXEC', 'attr/exec', 'a:b:c:s0'],
    [steps.setfscreatecon('a:b:c:s0'), 'SELINUX', 'FSCREATE', 'attr/fscreate', 'a:b:c:s0'],
    [steps.setkeycreatecon('a:b:c:s0'), 'SELINUX', 'KEYCREATE', 'attr/keycreate', 'a:b:c:s0'],
    [steps.setsockcreatecon('a:b:c:s0'), 'SELINUX', 'SOCKCREATE', 'attr/sockcreate', 'a:b:c:s0'],
    [steps.setcon('a:b:c:s0'), 'SELINUX', 'CURRENT', 'attr/current', 'a:b:c:s0'],
    [steps.aaChangeOnexec('a'), 'APPARMOR', 'EXEC', 'attr/apparmor/exec', 'exec a'],
    [steps.aaChangeProfile('a'), 'APPARMOR', 'CURRENT', 'attr/apparmor/current', 'changeprofile a'],
  ])('names the attribute by the system call, or by its file: %s', (step, module, attribute, file, value) => {
    const size = String((32 + value.length + 7) & ~7)
    expect([
      `lsm_set_self_attr(LSM_ATTR_${attribute}, {id=LSM_ID_${module}, flags=0, ctx="${value}"}, ${size}, 0)`,
      [
        `openat(<proc>, "thread-self/${file}", O_WRONLY|O_CLOEXEC)`,
        `write(<openat>, "${value}", ${String(value.length)})`,
        'close(<openat>)',
      ].join('\n'),
    ]).toContain(String(step))
  })
})

describe('the pty of the own devpts', () => {
  test('is opened, unlocked, made the terminal and sent back', () => {
    expect(steps.format(steps.openpty())).toBe(
      [
        'openat(AT_FDCWD, "/dev/pts/ptmx", O_RDWR|O_NOCTTY|O_CLOEXEC)',
        'ioctl(<openat>, TIOCSPTLCK, [0])',
        'ioctl(<openat>, TIOCGPTPEER, 0x80102)',
        'setsid()',
        'ioctl(<ioctl>, TIOCSCTTY, 0)',
        'dup3(<ioctl>, 0, 0)',
        'dup3(<ioctl>, 1, 0)',
        'dup3(<ioctl>, 2, 0)',
        'sendmsg(<parent> /* "pty" */, {msg_control=[{cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[<openat>]}]}, MSG_NOSIGNAL)',
      ].join('\n'),
    )
  })
})

describe('validateOrder', () => {
  const death = steps.setPdeathsig('SIGKILL')
  const refused: [string, steps.Step[], RegExp][] = [
    ['setresuid', [death, steps.setresuid(1)], /^steps\[0\]: prctl.*undone by steps\[1\], setresuid/],
    ['setresgid', [steps.umask(0), death, steps.setresgid(1)], /^steps\[1\]: .*undone by steps\[2\]/],
    ['clone', [death, steps.clone()], /inherit/],
    ['setns', [death, steps.setns(0, ['user', 'net'])], /credentials/],
    ['a label', [death, steps.setexeccon('a:b:c:s0')], /at an execve that changes the label/],
    [
      'a label, wherever it is',
      [steps.setexeccon('a:b:c:s0'), death],
      /steps\[1\].*by steps\[0\], setexeccon: .*setcon/,
    ],
    ['a profile', [death, steps.aaChangeOnexec('a')], /by steps\[1\], aa_change_onexec: .*aaChangeProfile/],
  ]
  test.each(refused)('refuses a death signal that is undone by %s', (_, list, message) => {
    expect(() => validateOrder(list)).toThrow(message)
  })

  test('takes it behind them', () => {
    const none = steps.setPdeathsig(0)
    expect(() =>
      validateOrder([steps.setresuid(1), steps.setns(0, 'net'), death, steps.setexeccon(null)]),
    ).not.toThrow()
    expect(() => validateOrder([death, none, steps.setresuid(1), steps.setexeccon('a:b:c:s0')])).not.toThrow()
    const kept = [steps.setcon('a:b:c'), steps.aaChangeProfile('a'), steps.aaChangeOnexec('unconfined')]
    expect(() =>
      validateOrder([death, kept, steps.setexeccon('a:b:c'), steps.setexeccon(null)].flat()),
    ).not.toThrow()
  })
})
