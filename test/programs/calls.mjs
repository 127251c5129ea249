// Runs under strace: makes the calls of steps on this thread, with markers between, and tells what it expects.
import { accessSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { native } from '../../dist/lib/native.js'
import { encode } from '../../dist/lib/plan.js'
import * as steps from '../../dist/lib/steps/index.js'
import * as thread from '../../dist/lib/thread.js'

// Where these calls would succeed, they must not reach the machine.
if (process.geteuid() === 0) {
  thread.unshare(['uts', 'mnt', 'ipc', 'net', 'cgroup'])
  thread.makePrivate('/', { recursive: true })
}
const directory = mkdtempSync(join(tmpdir(), 'fancyproc-'))
const nowhere = join(directory, 'no', 'where')
const strange = 'tab\t quote" back\\slash\n \x01 \x017 \x7f ä €'
const { FdStep } = steps
const [master, other] = [900, 901]

const list = [
  steps.unshare([]),
  steps.unshare(['fs', 'files', 'sysvsem']),
  steps.unshare(['user', 'time', 'mnt', 'net', 'uts', 'ipc', 'pid', 'cgroup', 0x1]),
  steps.unshare(0x1),
  steps.setns(master, ['mnt', 'pid', 'time']),
  steps.setns(master),
  steps.setns(master, 0x2),
  ...steps.mapUser(),
  steps.uidMap([
    { inside: 0, outside: 1000, count: 1 },
    { inside: 1, outside: 100000, count: 65536 },
  ]),
  steps.setresuid(null),
  steps.setresgid(null, -1, process.getegid()),
  steps.setgroups([0, 4294967294]),
  steps.mount({
    source: strange,
    target: nowhere,
    type: 'tmpfs',
    flags: ['MS_NOSUID', 'MS_NODEV', 'MS_RDONLY'],
    data: 'size=1',
  }),
  steps.mount({ target: nowhere, type: 'proc', flags: 0x200 }),
  steps.mount({
    target: nowhere,
    type: 'tmpfs',
    flags: ['MS_NOEXEC', 'MS_SYNCHRONOUS', 'MS_DIRSYNC', 'MS_NOSYMFOLLOW'],
    data: '',
  }),
  steps.mount({
    target: nowhere,
    type: 'tmpfs',
    flags: ['MS_MANDLOCK', 'MS_NOATIME', 'MS_NODIRATIME', 'MS_SILENT', 'MS_POSIXACL'],
  }),
  steps.mount({
    target: nowhere,
    type: 'tmpfs',
    flags: ['MS_RELATIME', 'MS_I_VERSION', 'MS_STRICTATIME', 'MS_LAZYTIME', 0x800000],
  }),
  steps.mount({ source: nowhere, target: nowhere, flags: 'MS_MOVE' }),
  steps.bind(nowhere, nowhere, { recursive: true }),
  steps.remount(nowhere, ['MS_BIND', 'MS_RDONLY']),
  steps.makePrivate(nowhere),
  steps.makeSlave(nowhere, { recursive: true }),
  steps.makeShared(nowhere),
  steps.makeUnbindable(nowhere),
  steps.umount2(nowhere),
  steps.umount2(nowhere, ['MNT_FORCE', 'MNT_DETACH', 'MNT_EXPIRE', 'UMOUNT_NOFOLLOW']),
  steps.umount2(nowhere, 0x10),
  steps.pivotRoot(nowhere, strange),
  steps.chdir(nowhere),
  steps.fchdir(master),
  steps.chroot(nowhere),
  steps.umask(0),
  steps.umask(0o7),
  steps.umask(0o22),
  steps.mkdir(join(directory, 'd')),
  steps.mkdir(join(directory, 'e'), 0o1700),
  steps.mkdir('x', 0, { dirfd: master }),
  steps.symlink(strange, join(directory, 'l')),
  steps.symlink('target', 'x', { dirfd: master }),
  steps.mknod(join(directory, 'f'), 0o600, 'S_IFIFO'),
  steps.mknod(join(directory, 'r'), 0o6777, 'S_IFREG'),
  steps.mknod(join(directory, 's'), 0, 'S_IFSOCK'),
  steps.mknod(nowhere, 0o1666, 'S_IFCHR', { major: 1, minor: 3 }),
  steps.mknod(nowhere, 0o666, 'S_IFBLK', { major: 4095, minor: 1048575, dirfd: master }),
  steps.open(directory),
  steps.open(
    nowhere,
    ['O_RDWR', 'O_CREAT', 'O_EXCL', 'O_NOCTTY', 'O_TRUNC', 'O_APPEND', 'O_NONBLOCK'],
    0o640,
  ),
  steps.open(nowhere, ['O_WRONLY', 'O_SYNC', 'O_DIRECT', 'O_NOFOLLOW', 'O_NOATIME']),
  steps.open(nowhere, ['O_DSYNC', 'O_NOATIME', 'O_DIRECTORY']),
  steps.open(nowhere, ['O_PATH', 'O_DIRECTORY', 'O_NOFOLLOW']),
  steps.open(nowhere, ['O_TMPFILE', 'O_RDWR'], 0o600),
  steps.open('x', [3, 0x800000], undefined, { dirfd: master }),
  steps.openat2(nowhere),
  steps.openat2(nowhere, {
    flags: ['O_RDWR', 'O_CREAT'],
    mode: 0o600,
    resolve: ['RESOLVE_NO_XDEV', 'RESOLVE_CACHED'],
  }),
  steps.openat2('x', {
    flags: ['O_PATH', 1n << 40n],
    resolve: ['RESOLVE_IN_ROOT', 'RESOLVE_NO_SYMLINKS'],
    dirfd: master,
  }),
  steps.openat2('x', { resolve: 1n << 50n }),
  steps.openat2('x', { resolve: ['RESOLVE_BENEATH', 'RESOLVE_NO_MAGICLINKS', 1n << 50n] }),
  steps.writeFile(join(directory, 'w'), strange),
  steps.writeFile(join(directory, 'w'), Uint8Array.of(0, 0x31, 0, 0xff), {
    flags: ['O_APPEND', 'O_NOFOLLOW'],
  }),
  steps.writeFile(join(directory, 'w'), 'x'.repeat(4096), { flags: 'O_TRUNC' }),
  steps.close(master),
  steps.closeRange(1000, 2000),
  steps.closeRange(1000, undefined, ['CLOSE_RANGE_CLOEXEC', 'CLOSE_RANGE_UNSHARE']),
  steps.closeRange(1000, 2000, 1),
  steps.dup(master, other),
  steps.dup(2, 903, 'O_CLOEXEC'),
  steps.dup(steps.childFd(2), 904, 0x4),
  steps.setsid(),
  steps.ioctl(master, 'TIOCNOTTY'),
  steps.setControllingTerminal(master),
  steps.unlockpt(master),
  steps.ptsPeer(master),
  steps.windowSize(master, 80, 24),
  steps.ioctl(master, 0x12345678, 0x99),
  steps.ioctl(master, 0xffffffff, 5n),
  steps.sethostname('fancyproc-test'),
  steps.sethostname(''),
  steps.setdomainname('ä'),
  steps.setNoNewPrivs(),
  steps.setPdeathsig(0),
  steps.setPdeathsig('SIGTERM'),
  steps.setName('a name'),
  steps.setChildSubreaper(),
  steps.prctl('PR_SET_DUMPABLE', 1),
  steps.prctl('PR_SET_KEEPCAPS', 1),
  steps.prctl('PR_SET_TIMERSLACK', 50000),
  steps.prctl('PR_SET_THP_DISABLE', 77, 16),
  steps.prctl('PR_SET_IO_FLUSHER', 77),
  steps.prctl(0x12, 77, 8, 7, 6),
  steps.setrlimit('RLIMIT_CORE', 1024, 8192),
  steps.setrlimit('RLIMIT_CPU', 1000, 'infinity'),
  steps.setrlimit(16, 3073n, 2n ** 63n),
  ...['SIGHUP', 'SIGABRT', 'SIGIO', 'SIGSYS', 'SIGCHLD', 'SIGPIPE', 'SIGSTKFLT', 'SIGWINCH', 'SIGPWR'].map(
    (signal) => steps.sigaction(signal, signal === 'SIGPIPE' ? 'SIG_IGN' : 'SIG_DFL'),
  ),
  steps.sigaction(32, 'SIG_DFL'),
  steps.sigaction(64, 'SIG_IGN'),
]

const marker = (name) => {
  try {
    accessSync(`/fancyproc-marker/${name}`)
  } catch {
    // It is there for strace.
  }
}

const told = list.map((step, i) => {
  const plan = encode({ steps: [step] }).bytes
  marker(String(i))
  const [result, call] = native().call(plan)
  marker('end')
  return {
    operation: step.operation,
    opens: step instanceof FdStep,
    result,
    call,
    lines: step.toString().split('\n'),
  }
})
rmSync(directory, { recursive: true, force: true })
writeFileSync(process.argv[2], JSON.stringify(told))
process.reallyExit(0)
