// Constructors refuse bad input at once, and say which argument of which call; native code reads what they make.
import { describe, expect, test } from '@jest/globals'
import { openSync } from 'node:fs'
import { Fd } from '../lib/fd.ts'
import { native } from '../lib/native.ts'
import { encode } from '../lib/plan.ts'
import * as steps from '../lib/steps/index.ts'
import { namespaceFlags } from '../lib/steps/namespace.ts'

// Calls that the types forbid, as plain JavaScript would make them.
const loose = steps as unknown as Record<string, (...args: unknown[]) => unknown>
const call =
  (name: string, ...args: unknown[]) =>
  () =>
    loose[name]?.(...args)

type Bad = [name: string, args: unknown[], error: typeof TypeError, message: string]

const range = { inside: 0, outside: 0, count: 1 }
const long = 'x'.repeat(5000)

describe('a string', () => {
  const paths: [string, unknown[], number, string][] = [
    ['chdir', [], 0, 'chdir: path'],
    ['chroot', [], 0, 'chroot: path'],
    ['umount2', [], 0, 'umount2: target'],
    ['pivotRoot', ['', '/b'], 0, 'pivot_root: new_root'],
    ['pivotRoot', ['/a', ''], 1, 'pivot_root: put_old'],
    ['mkdir', [], 0, 'mkdirat: path'],
    ['symlink', ['', '/b'], 0, 'symlinkat: target'],
    ['symlink', ['/a', ''], 1, 'symlinkat: linkpath'],
    ['mknod', ['', 0o600, 'S_IFIFO'], 0, 'mknodat: path'],
    ['open', [], 0, 'openat: path'],
    ['openat2', [], 0, 'openat2: path'],
    ['writeFile', ['', 'data'], 0, 'writeFile: path'],
    ['bind', ['', '/b'], 0, 'bind: source'],
    ['bind', ['/a', ''], 1, 'bind: target'],
    ['remount', ['', 'MS_RDONLY'], 0, 'remount: target'],
    ['makePrivate', [], 0, 'makePrivate: target'],
    ['setexeccon', [], 0, 'setexeccon: context'],
    ['setfscreatecon', [], 0, 'setfscreatecon: context'],
    ['setkeycreatecon', [], 0, 'setkeycreatecon: context'],
    ['setsockcreatecon', [], 0, 'setsockcreatecon: context'],
    ['setcon', [], 0, 'setcon: context'],
    ['aaChangeOnexec', [], 0, 'aa_change_onexec: profile'],
    ['aaChangeProfile', [], 0, 'aa_change_profile: profile'],
    ['sendFd', ['', 0], 0, 'sendFd: name'],
    ['readFile', ['', '/a'], 0, 'readFile: name'],
    ['readFile', ['a', ''], 1, 'readFile: path'],
    ['readlink', ['', '/a'], 0, 'readlinkat: name'],
    ['readlink', ['a', ''], 1, 'readlinkat: path'],
    ['statfs', ['', '/a'], 0, 'statfs: name'],
    ['statfs', ['a', ''], 1, 'statfs: path'],
  ]
  const bad: [string, unknown, string][] = [
    ['is empty', '', 'is empty'],
    ['holds a NUL byte', '/a\0b', 'holds a NUL byte: "/a\\u0000b"'],
    ['is not well-formed', '/a\ud800', 'is not well-formed Unicode'],
    ['is a number', 5, 'expected a string, got 5'],
    ['is missing', undefined, 'expected a string, got undefined'],
    ['is a Buffer', Buffer.from('/'), 'expected a string, got'],
  ]
  for (const [why, value, problem] of bad) {
    test.each(paths)(`that ${why} is refused by %s(%j), argument %i`, (name, args, at, argument) => {
      const given = [...args]
      given[at] = value
      expect(call(name, ...given)).toThrow(`${argument}: ${problem}`)
      expect(call(name, ...given)).toThrow(TypeError)
    })
  }
})

describe('bad input', () => {
  const bad: Bad[] = [
    // Flags
    [
      'unshare',
      ['pids'],
      TypeError,
      'unshare: namespaces: no flag "pids"; known are time, mnt, cgroup, uts, ipc, user, pid, net, fs',
    ],
    ['unshare', [['mnt', 'CLONE_NEWNET']], TypeError, 'unshare: namespaces[1]: no flag "CLONE_NEWNET"'],
    ['unshare', [], TypeError, 'unshare: namespaces: expected a flag'],
    ['unshare', [-1], RangeError, 'unshare: namespaces: expected 0 to 0xffffffff, got -1'],
    ['unshare', [2 ** 32], RangeError, 'unshare: namespaces: expected 0 to 0xffffffff'],
    ['unshare', [1.5], RangeError, 'unshare: namespaces: 1.5 is not an exact integer'],
    ['unshare', [NaN], RangeError, 'unshare: namespaces: NaN'],
    ['unshare', [[['mnt']]], TypeError, 'unshare: namespaces[0]: expected a flag'],
    ['setns', [0, 'fs'], TypeError, 'setns: nstype: no flag "fs"'],
    ['clone', ['toString'], TypeError, 'clone: namespaces: no flag "toString"'],
    ['mount', [{ target: '/', flags: 'MS_RO' }], TypeError, 'mount: flags: no flag "MS_RO"'],
    ['umount2', ['/', ['MNT_DETACH', 'MNT_LAZY']], TypeError, 'umount2: flags[1]: no flag "MNT_LAZY"'],
    ['open', ['/', 'r'], TypeError, 'openat: flags: no flag "r"; known are O_RDONLY'],
    ['openat2', ['/', { flags: 2n ** 64n }], RangeError, 'openat2: flags: expected 0 to 0xffffffffffffffff'],
    [
      'openat2',
      ['/', { flags: 2 ** 53 }],
      RangeError,
      'openat2: flags: 9007199254740992 is not an exact integer',
    ],
    ['openat2', ['/', { resolve: 'RESOLVE_ROOT' }], TypeError, 'openat2: resolve: no flag "RESOLVE_ROOT"'],
    ['closeRange', [3, 4, 'O_CLOEXEC'], TypeError, 'close_range: flags: no flag "O_CLOEXEC"'],
    ['dup', [0, 1, 'O_RDWR'], TypeError, 'dup3: flags: no flag "O_RDWR"'],

    // Options
    ['mount', ['/'], TypeError, 'mount: options: expected an object, got "/"'],
    [
      'mount',
      [{ target: '/', fstype: 'proc' }],
      TypeError,
      'mount: fstype: no such option; known are source, target, type, flags, data',
    ],
    ['bind', ['/a', '/b', { readonly: true }], TypeError, 'bind: readonly: no such option'],
    ['bind', ['/a', '/b', { recursive: 1 }], TypeError, 'bind: recursive: expected a boolean, got 1'],
    [
      'mkdir',
      ['/a', 0o777, { recursive: true }],
      TypeError,
      'mkdirat: recursive: no such option; known are dirfd, ignore',
    ],
    ['mkdir', ['/a', 0o777, null], TypeError, 'mkdirat: options: expected an object, got null'],
    ['mkdir', ['/a', 0o777, { ignore: ['EXISTS'] }], TypeError, 'mkdirat: ignore: no errno: "EXISTS"'],
    [
      'mkdir',
      ['/a', 0o777, { ignore: 'EEXIST' }],
      TypeError,
      'mkdirat: ignore: expected up to 4 errno names',
    ],
    [
      'mkdir',
      ['/a', 0o777, { ignore: ['EPERM', 'EACCES', 'EEXIST', 'EROFS', 'EIO'] }],
      TypeError,
      'mkdirat: ignore: expected up to 4',
    ],
    ['open', ['/a', 0, undefined, { resolve: 1 }], TypeError, 'openat: resolve: no such option'],
    ['openat2', ['/a', { mod: 1 }], TypeError, 'openat2: mod: no such option'],
    ['writeFile', ['/a', '', { flag: 'w' }], TypeError, 'writeFile: flag: no such option'],
    ['mapUser', [{ user: 1 }], TypeError, 'mapUser: user: no such option'],

    // Modes
    ['mkdir', ['/a', 0o10000], RangeError, 'mkdirat: mode: expected an integer from 0 to 4095, got 4096'],
    ['mkdir', ['/a', '755'], TypeError, 'mkdirat: mode: expected a number, got "755"'],
    ['umask', [0o1000], RangeError, 'umask: mask: expected an integer from 0 to 511'],
    ['umask', [], TypeError, 'umask: mask: expected a number'],
    [
      'open',
      ['/a', 'O_RDONLY', 0o600],
      TypeError,
      'openat: mode: means nothing without O_CREAT or O_TMPFILE',
    ],
    ['open', ['/a', 'O_CREAT', -1], RangeError, 'openat: mode'],
    ['openat2', ['/a', { mode: 0o600 }], TypeError, 'openat2: mode: means nothing'],
    ['writeFile', ['/a', '', { flags: 'O_TRUNC', mode: 0o600 }], TypeError, 'writeFile: mode: means nothing'],
    ['writeFile', ['/a', '', { flags: 'O_RDWR' }], TypeError, 'writeFile: flags: it is opened with O_WRONLY'],
    ['writeFile', ['/a', 5], TypeError, 'writeFile: data: expected a string or a Uint8Array, got 5'],

    // mount
    [
      'mount',
      [{ source: 'proc', type: 'proc' }],
      TypeError,
      'mount: target: expected a string, got undefined',
    ],
    ['mount', [{ target: '/a', data: 'x\0' }], TypeError, 'mount: data: holds a NUL byte'],
    ['mount', [{ target: '/a', data: long }], RangeError, 'mount: data: 5000 bytes, the kernel takes 4095'],
    ['mount', [{ target: '/a', type: '' }], TypeError, 'mount: type: is empty'],
    ['mount', [{ target: '/a', flags: 'MS_BIND' }], TypeError, 'mount: source: MS_BIND needs one'],
    [
      'mount',
      [{ source: '/b', target: '/a', flags: ['MS_BIND', 'MS_RDONLY', 'MS_NOSUID'] }],
      TypeError,
      'mount: flags: with MS_BIND the kernel ignores MS_RDONLY|MS_NOSUID',
    ],
    [
      'mount',
      [{ source: '/b', target: '/a', flags: ['MS_BIND', 0x200] }],
      TypeError,
      'mount: flags: with MS_BIND the kernel ignores 0x200',
    ],
    ['overlayData', [{ lowerdir: [] }], RangeError, 'overlayData: lowerdir: expected 1 to 500 layers, got 0'],
    ['overlayData', [{ lowerdir: ['/a', ''] }], TypeError, 'overlayData: lowerdir[1]: is empty'],
    [
      'overlayData',
      [{ lowerdir: '/a', upperdir: '/b' }],
      TypeError,
      'overlayData: workdir: upperdir and workdir go together',
    ],
    [
      'overlayData',
      [{ lowerdir: '/a', workdir: '/b' }],
      TypeError,
      'overlayData: upperdir: upperdir and workdir go together',
    ],
    ['overlayData', [{ lowerdir: long }], RangeError, 'overlayData: 5009 bytes, the kernel takes 4095'],
    [
      'overlayData',
      [{ lowerdir: '/a', options: 'userxattr' }],
      TypeError,
      'overlayData: options: expected an array of strings',
    ],
    ['overlayData', [{ lower: '/a' }], TypeError, 'overlayData: lower: no such option'],

    // mknod
    ['mknod', ['/a', 0o600, 'S_IFDIR'], TypeError, 'mknodat: type: no "S_IFDIR"; known are S_IFIFO'],
    ['mknod', ['/a', 0o600, 0o20000], TypeError, 'mknodat: type: expected one of S_IFIFO'],
    [
      'mknod',
      ['/a', 0o600, 'S_IFCHR', { major: 1 }],
      TypeError,
      'mknodat: minor: expected a number, got undefined',
    ],
    [
      'mknod',
      ['/a', 0o600, 'S_IFCHR', { major: 4096, minor: 0 }],
      RangeError,
      'mknodat: major: expected an integer from 0 to 4095',
    ],
    ['mknod', ['/a', 0o600, 'S_IFBLK', { major: 1, minor: 2 ** 20 }], RangeError, 'mknodat: minor'],
    ['mknod', ['/a', 0o600, 'S_IFIFO', { major: 1 }], TypeError, 'mknodat: major: S_IFIFO has none'],

    // Descriptors
    [
      'setns',
      ['/proc/1/ns/net'],
      TypeError,
      'setns: fd: expected an fd, or a step that opens one, got "/proc/1/ns/net"',
    ],
    ['setns', [-1], TypeError, 'setns: fd: no fd: -1'],
    ['setns', [1.5], TypeError, 'setns: fd: no fd: 1.5'],
    ['fchdir', [2 ** 31], TypeError, 'fchdir: fd: no fd: 2147483648'],
    ['fchdir', [steps.setsid()], TypeError, 'fchdir: fd: this step gives no fd: setsid()'],
    ['fchdir', [{ fd: -1 }], TypeError, 'fchdir: fd: this fd is closed'],
    ['mkdir', ['a', 0o777, { dirfd: '/' }], TypeError, 'mkdirat: dirfd: expected an fd'],
    ['close', [{ fd: undefined }], TypeError, 'close: fd: expected an fd'],
    ['close', [-1], RangeError, 'close: fd: expected an integer'],
    ['closeRange', [4, 3], RangeError, 'close_range: last: 3 is below first, 4'],
    ['closeRange', [-1], RangeError, 'close_range: first'],
    ['closeRange', [0, 2 ** 32], RangeError, 'close_range: last'],
    ['dup', [0, -1], RangeError, 'dup3: newfd: expected an integer from 0'],
    ['dup', [0, '1'], TypeError, 'dup3: newfd: expected a number'],
    ['sendFd', ['x', undefined], TypeError, 'sendFd: fd: expected an fd'],
    ['childFd', [-1], RangeError, 'childFd: number'],
    ['setControllingTerminal', [null], TypeError, 'TIOCSCTTY: fd'],
    ['unlockpt', [null], TypeError, 'TIOCSPTLCK: fd'],
    ['ptsPeer', [null], TypeError, 'TIOCGPTPEER: fd'],
    ['windowSize', [0, 65536, 1], RangeError, 'TIOCSWINSZ: columns'],
    ['windowSize', [0, 80, -1], RangeError, 'TIOCSWINSZ: rows'],
    ['ioctl', [0, 'TIOCSTI'], TypeError, 'ioctl: op: no "TIOCSTI"; known are TIOCSCTTY'],
    ['ioctl', [0, 2 ** 32], RangeError, 'ioctl: op'],
    ['ioctl', [0, 1, '0'], TypeError, 'ioctl: argument: expected an unsigned integer'],
    ['ioctl', [0, 1, -1], TypeError, 'ioctl: argument'],
    ['openpty', [''], TypeError, 'openat: path: is empty'],

    // Ids
    ['uidMap', [[]], RangeError, 'uid_map: ranges: expected 1 to 340 ranges, got 0'],
    [
      'uidMap',
      [Array.from({ length: 341 }, (_, i) => ({ inside: i, outside: i, count: 1 }))],
      RangeError,
      'uid_map: ranges: expected 1 to 340',
    ],
    ['uidMap', [5], TypeError, 'uid_map: ranges: expected {inside, outside, count}, got 5'],
    ['uidMap', [[range, null]], TypeError, 'uid_map: ranges[1]: expected {inside, outside, count}'],
    ['gidMap', [{ ...range, size: 1 }], TypeError, 'gid_map: ranges.size: no such property'],
    ['gidMap', [{ ...range, inside: -1 }], RangeError, 'gid_map: ranges.inside'],
    ['gidMap', [{ ...range, count: 0 }], RangeError, 'gid_map: ranges.count: expected an integer from 1'],
    [
      'gidMap',
      [[{ inside: 1, outside: 0, count: 0xffffffff }]],
      RangeError,
      'gid_map: ranges[0].count: more ids than there are from inside on',
    ],
    [
      'uidMap',
      [
        [
          { inside: 0, outside: 0, count: 10 },
          { inside: 9, outside: 100, count: 1 },
        ],
      ],
      TypeError,
      'uid_map: ranges: two ranges overlap at inside 9',
    ],
    [
      'uidMap',
      [
        [
          { inside: 0, outside: 5, count: 10 },
          { inside: 90, outside: 0, count: 6 },
        ],
      ],
      TypeError,
      'uid_map: ranges: two ranges overlap at outside 5',
    ],
    ['setresuid', ['root'], TypeError, 'setresuid: ruid: expected a number, got "root"'],
    ['setresuid', [], TypeError, 'setresuid: ruid: expected a number, got undefined'],
    ['setresuid', [0, 2 ** 32 - 1], RangeError, 'setresuid: euid: expected an integer from 0 to 4294967294'],
    ['setresgid', [0, 0, -2], RangeError, 'setresgid: sgid'],
    ['setgroups', [5], TypeError, 'setgroups: list: expected an array of gids, got 5'],
    ['setgroups', [[1, '2']], TypeError, 'setgroups: list[1]: expected a number'],
    ['setgroups', [[2 ** 32]], RangeError, 'setgroups: list[0]'],
    ['setgroups', [new Array(65537).fill(0)], RangeError, 'setgroups: list: more than 65536 groups'],
    ['mapUser', [{ uid: '0' }], TypeError, 'mapUser: uid: expected a number'],

    ['mount', [{ target: '/', rootcontext: 5 }], TypeError, 'mount: rootcontext: expected a string, got 5'],
    [
      'mount',
      [{ target: '/', context: 'a:b:c:s0"' }],
      TypeError,
      'mount: context: no context: "a:b:c:s0\\""',
    ],
    [
      'mount',
      [{ target: '/', context: 'a:b:c', defcontext: 'a:b:c' }],
      TypeError,
      'mount: defcontext: not together',
    ],
    [
      'mount',
      [{ source: '/', target: '/', flags: 'MS_BIND', context: 'a:b:c' }],
      TypeError,
      'mount: context: with these flags',
    ],
    [
      'mount',
      [{ target: '/', flags: 'MS_PRIVATE', fscontext: 'a:b:c' }],
      TypeError,
      'mount: fscontext: with these flags',
    ],
    [
      'mount',
      [{ target: '/', context: 'x'.repeat(4085), data: 'a=b' }],
      RangeError,
      'mount: data: 4099 bytes',
    ],

    // Names
    ['sethostname', ['x'.repeat(65)], RangeError, 'sethostname: name: 65 bytes, the kernel takes 64'],
    ['sethostname', ['ä'.repeat(33)], RangeError, 'sethostname: name: 66 bytes'],
    ['setdomainname', ['a\0'], TypeError, 'setdomainname: name: holds a NUL byte'],
    ['setName', ['x'.repeat(16)], RangeError, 'setName: name: 16 bytes, the kernel takes 15'],
    ['prctl', ['PR_SET_NAME', 'x'.repeat(16)], RangeError, 'prctl: arg2: 16 bytes'],
    ['prctl', [15, 5], TypeError, 'prctl: arg2: expected a string'],
    ['setexeccon', [long], RangeError, 'setexeccon: context: 5000 bytes'],
    ['setcon', [null], TypeError, 'setcon: context: expected a string, got null'],
    [
      'aaChangeOnexec',
      ['x'.repeat(4060)],
      RangeError,
      'aa_change_onexec: profile: 4060 bytes, the kernel takes 4059',
    ],
    [
      'aaChangeProfile',
      ['a '],
      TypeError,
      'aa_change_profile: profile: begins or ends with white space: "a "',
    ],
    ['joinSessionKeyring', [''], TypeError, 'joinSessionKeyring: name: is empty'],

    // prctl, limits, signals
    ['prctl', ['PR_GET_NAME'], TypeError, 'prctl: op: no "PR_GET_NAME"; known are PR_SET_PDEATHSIG'],
    ['prctl', [-1], RangeError, 'prctl: op'],
    ['prctl', [4, 1, 2, 3, 4, 5], TypeError, 'prctl: arg6: there are four arguments'],
    ['prctl', [4, 1.5], RangeError, 'prctl: arg2: no exact integer'],
    ['prctl', [4, 0, 2n ** 64n], RangeError, 'prctl: arg3: not 64 bits'],
    ['prctl', [4, 0, 0, null], TypeError, 'prctl: arg4: expected an integer'],
    ['setPdeathsig', ['SIGNOPE'], TypeError, 'setPdeathsig: signal: no "SIGNOPE"'],
    ['setPdeathsig', [65], RangeError, 'setPdeathsig: signal'],
    ['setChildSubreaper', [1], TypeError, 'setChildSubreaper: on: expected a boolean'],
    ['setrlimit', ['NOFILE', 1], TypeError, 'setrlimit: resource: no "NOFILE"; known are RLIMIT_CPU'],
    ['setrlimit', ['RLIMIT_NOFILE', 10, 5], RangeError, 'setrlimit: soft: 10 is above the hard limit, 5'],
    ['setrlimit', ['RLIMIT_NOFILE', 'infinity', 5], RangeError, 'setrlimit: soft: infinity is above'],
    [
      'setrlimit',
      ['RLIMIT_NOFILE', Infinity],
      RangeError,
      "setrlimit: soft: Infinity is not an exact integer; without a limit is 'infinity'",
    ],
    ['setrlimit', ['RLIMIT_NOFILE', -1], RangeError, 'setrlimit: soft: expected 0 to 2^64 - 1'],
    ['setrlimit', ['RLIMIT_NOFILE', 2n ** 64n], RangeError, 'setrlimit: soft'],
    ['setrlimit', ['RLIMIT_NOFILE', 'max'], TypeError, 'setrlimit: soft: expected a number'],
    ['setrlimit', ['RLIMIT_NOFILE', 1, null], TypeError, 'setrlimit: hard'],
    [
      'sigaction',
      ['SIGPIPE', 'ignore'],
      TypeError,
      "sigaction: act: expected 'SIG_DFL' or 'SIG_IGN', got \"ignore\"",
    ],
    ['sigaction', ['PIPE', 'SIG_IGN'], TypeError, 'sigaction: signum: no "PIPE"'],
    ['sigaction', [0, 'SIG_IGN'], RangeError, 'sigaction: signum: expected an integer from 1 to 64'],
  ]
  test.each(bad)('%s(%j)', (name, args, error, message) => {
    expect(call(name, ...args)).toThrow(message)
    expect(call(name, ...args)).toThrow(error)
  })
})

describe('arguments for the native side', () => {
  const table = native().table

  test('match the table of operations', () => {
    const open = steps.open('/')
    const all = [
      open, steps.unshare('net'), steps.setns(0), steps.clone(), steps.uidMap(range), steps.gidMap(range), steps.setgroupsDeny(),
      steps.mount({ target: '/' }), steps.umount2('/'), steps.pivotRoot('.', '.'), steps.chdir('/'), steps.fchdir(open),
      steps.chroot('/'), steps.umask(0), steps.mkdir('/a'), steps.symlink('a', 'b'), steps.mknod('a', 0, 'S_IFIFO'),
      steps.openat2('/'), steps.writeFile('/a', ''), steps.close(0), steps.closeRange(3), steps.dup(0, 1), steps.sendFd('x', 0).at(0),
      steps.ioctl(0, 1), steps.sethostname('a'), steps.setdomainname('a'), steps.setresuid(0), steps.setresgid(0),
      steps.setgroups([]), steps.prctl(4), steps.setrlimit(0, 0), steps.setsid(), steps.sigaction(13, 'SIG_DFL'),
      steps.setexeccon(null), steps.setfscreatecon(null), steps.setkeycreatecon(null), steps.setsockcreatecon(null),
      steps.setcon('a:b:c'), steps.aaChangeOnexec('a'), steps.aaChangeProfile('a'), steps.joinSessionKeyring(),
      steps.setexeccon(null), steps.readFile('x', '/a'), steps.readlink('x', '/a'), steps.statfs('x', '/a'),
      steps.capset(0),
    ] // prettier-ignore
    expect(new Set(all.map(({ operation }) => operation))).toEqual(new Set(table.keys()))
    for (const { operation, args } of all) {
      const kinds = Array.from(table.get(operation)?.arguments ?? '')
      expect([operation, args.length]).toEqual([operation, kinds.length])
      for (const [i, kind] of kinds.entries()) {
        const value = args[i]
        const good: Record<string, boolean> = {
          i: typeof value === 'number' || typeof value === 'bigint',
          s: typeof value === 'string',
          S: typeof value === 'string' || value === null,
          f: value !== null,
          F: true,
          b: typeof value === 'string' || value instanceof Uint8Array,
          w: value instanceof Uint32Array,
          x: value !== undefined,
          r: typeof value === 'number',
        }
        expect([operation, i, kind, good[kind]]).toEqual([operation, i, kind, true])
      }
    }
    expect(encode({ steps: all }).given).toEqual(Int32Array.of(0))
  })

  test('keep numbers whole', () => {
    expect(steps.unshare(['mnt', 'net', 0x80000000]).args).toEqual([0xc0020000])
    expect(steps.open('/a', [0x80000000]).args[2]).toBe(0x80080000)
    expect(steps.openat2('/a', { flags: 1n << 63n, resolve: 1n << 62n }).args.slice(2)).toEqual([
      (1n << 63n) | 0x80000n,
      0,
      1n << 62n,
    ])
    expect(steps.mknod('/a', 0o600, 'S_IFBLK', { major: 0xfff, minor: 0xfffff }).args.slice(2)).toEqual([
      0o060600, 0xffffffff,
    ])
    expect(steps.setrlimit('RLIMIT_AS', 1, 'infinity').args).toEqual([9, 1n, 2n ** 64n - 1n])
    expect(steps.prctl(4, -1).args[1]).toBe(2n ** 64n - 1n)
    expect(steps.setresuid(1, null, -1).args).toEqual([1, 0xffffffff, 0xffffffff])
    expect(steps.setresgid(7).args).toEqual([7, 7, 7])
    expect(steps.windowSize(0, 80, 24).args[2]).toEqual(Uint8Array.of(24, 0, 80, 0, 0, 0, 0, 0))
  })

  test('are encoded as native/plan.h says', () => {
    const last = ['a', 'é', '€', '😀']
    const texts = [1, 63, 64, 65, 4095, 4096, 4097, 20000].flatMap((length) =>
      last.map((end) => `/${'x'.repeat(length - 1)}${end}`),
    )
    const flags = [0, 1, 2n ** 32n, 1n << 63n]
    const list = texts.map((text, i) => steps.openat2(text, { flags: flags[i % flags.length]! }))
    const { bytes } = encode({ steps: list })
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    const [count, ops] = [view.getUint32(12, true), view.getUint32(16, true) - 4096]
    expect(count).toBe(list.length)
    let at = ops
    for (const [i, step] of list.entries()) {
      expect([view.getUint16(at + 2, true), view.getInt16(at + 4, true)]).toEqual([step.args.length, -1])
      const cell = (index: number): [number, number, bigint] => {
        const place = at + 16 + index * 16
        return [
          view.getUint32(place, true),
          view.getUint32(place + 4, true),
          view.getBigUint64(place + 8, true),
        ]
      }
      expect(cell(0)).toEqual([1, 0, 2n ** 64n - 100n]) // AT_FDCWD
      const [kind, length, value] = cell(1)
      const text = Buffer.from(bytes.subarray(Number(value) - 4096, Number(value) - 4096 + length))
      expect([kind, text.toString(), bytes[Number(value) - 4096 + length]]).toEqual([2, texts[i], 0])
      expect(cell(2)).toEqual([1, 0, BigInt(step.args[2] as number)])
      at += 16 + step.args.length * 16
    }
  })

  test('are copies of bytes that the caller may change', () => {
    const bytes = Buffer.from('abc')
    const step = steps.writeFile('/a', bytes)
    bytes.fill(0)
    expect(step.args[4]).toEqual(Uint8Array.of(97, 98, 99))
  })

  test("take the caller's fds, the child's own, and those of steps", () => {
    const number = openSync('/dev/null', 'r')
    using fd = new Fd(number)
    const open = steps.open('/')
    expect(
      encode({ steps: [open, steps.fchdir(open), steps.fchdir(fd), steps.fchdir({ fd: number })] }).given,
    ).toEqual(Int32Array.of(number))
    expect(encode({ steps: [steps.dup(steps.childFd(1), 2), steps.close(5)] }).given).toHaveLength(0)
    expect(() => encode({ steps: [steps.fchdir(open)] })).toThrow(
      'steps[0]: uses the fd of a step that does not come before it',
    )
    fd.close()
    expect(() => steps.fchdir(fd)).toThrow('fchdir: fd: this fd is closed')
  })

  test('of dirfd', () => {
    expect(steps.mkdir('a').args[0]).toBeNull()
    expect(steps.mkdir('a', 0, { dirfd: steps.AT_FDCWD }).args[0]).toBeNull()
    expect(steps.mkdir('a', 0, { dirfd: 3 }).args[0]).toBe(3)
  })
})

describe('steps', () => {
  test('are frozen, and tell path and dest', () => {
    const step = steps.bind('/a', '/b')
    expect(Object.isFrozen(step)).toBe(true)
    expect([step.path, step.dest]).toEqual(['/a', '/b'])
    expect([steps.makePrivate('/').path, steps.makePrivate('/').dest]).toEqual(['/', undefined])
    expect(steps.mkdir('/a', 0o777, { ignore: ['EEXIST'] }).ignored).toEqual([17])
  })

  test('have hints for errnos that mislead', () => {
    expect(steps.pivotRoot('.', '.').hints['EINVAL']).toMatch(/mount point.*shared/)
    expect(steps.mount({ source: 'proc', target: '/proc', type: 'proc' }).hints['EPERM']).toMatch(
      /too revealing/,
    )
    expect(steps.mount({ source: 'o', target: '/o', type: 'overlay' }).hints['EINVAL']).toMatch(
      /submounts.*userxattr/,
    )
    expect(steps.remount('/a', ['MS_BIND', 'MS_RDONLY']).hints['EPERM']).toMatch(/locked/)
    expect(steps.setgroups([]).hints['EPERM']).toMatch(/deny/)
    expect(steps.setns(0).hints['EINVAL']).toMatch(/unshare\('fs'\)/)
    expect(steps.unshare('user').hints['EPERM']).toMatch(/user namespace|sysctl|seccomp|AppArmor/)
    expect(steps.unshare('net').hints['EPERM']).toMatch(/CAP_SYS_ADMIN/)
  })

  test('of a map know their ranges, and who writes them', () => {
    const ranges = [
      { inside: 0, outside: 1000, count: 1 },
      { inside: 1, outside: 100000, count: 65536 },
    ]
    const step = steps.uidMap(ranges)
    expect([step.kind, step.ranges, step.args]).toEqual(['uid', ranges, ['0 1000 1\n1 100000 65536\n', -1]])
    const held = step.heldBy(7)
    expect([held.kind, held.ranges, held.args[1]]).toEqual(['uid', ranges, 7])
    expect(held.calls).toHaveLength(1)
    const [deny, uid, gid] = steps.mapUser({ uid: 5 })
    expect(deny?.operation).toBe('setgroups_deny')
    expect(uid?.args[0]).toBe(`5 ${String(process.geteuid?.())} 1\n`)
    expect(gid?.args[0]).toBe(`0 ${String(process.getegid?.())} 1\n`)
  })

  test('that send an fd know its name, and get its number', () => {
    const step = steps.sendFd('log', 3)
    expect([step.name, step.args]).toEqual(['log', [3, 'log']])
    expect([step.at(2).name, step.at(2).args, String(step.at(2))]).toEqual(['log', [3, 2], String(step)])
  })

  test('escape what means something to overlay', () => {
    expect(
      steps.overlayData({
        lowerdir: ['/a:b', '/c,d'],
        upperdir: '/u\\v',
        workdir: '/w',
        options: ['userxattr'],
      }),
    ).toBe('lowerdir=/a\\:b:/c\\,d,upperdir=/u\\\\v,workdir=/w,userxattr')
    expect(steps.overlayData({ lowerdir: '/a' })).toBe('lowerdir=/a')
  })
})

describe('namespaceFlags', () => {
  test('has the bits of the kernel', () => {
    expect(steps.namespaces.map((name) => namespaceFlags(name, 'namespaces'))).toEqual([
      0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000,
    ])
    expect(namespaceFlags([], 'namespaces')).toBe(0)
    expect(namespaceFlags(['mnt', 'mnt', 'net', 0x80], 'namespaces')).toBe(0x40020080)
  })

  test('names the argument', () => {
    expect(() => namespaceFlags(['mount'], 'namespaces')).toThrow('namespaces[0]: no flag "mount"')
  })
})
