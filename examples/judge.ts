// A judge: runs programs that nobody trusts, each in a sandbox of its own, and says what became of them.
// node dist/examples/judge.js [--seconds N] [--megabytes N] FILE... ; each has our standard input, if it is no terminal.
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { basename, extname } from 'node:path'
import { parseArgs } from 'node:util'
import { type Cgroup, cgroups, KernelError, run } from 'fancyproc'
import { bind, chdir, gidMap, makePrivate, mapUser, mkdir, mount, pivotRoot, remount } from 'fancyproc/steps'
import { sethostname, setgroups, setNoNewPrivs, setPdeathsig, setresgid, setresuid } from 'fancyproc/steps'
import { setrlimit, type Steps, symlink, uidMap, umount2, writeFile } from 'fancyproc/steps'

const MB = 1 << 20
const PROCESSES = 32
const interpreters: Record<string, string[]> = { '.py': ['python3'], '.sh': ['sh'], '.pl': ['perl'] }

interface Limits {
  seconds: number
  megabytes: number
}

/** Nobody's: root's own would be the machine's root, and without 0 in there execve takes all capabilities. */
function unprivileged(): Steps {
  if (process.geteuid?.() !== 0) return mapUser({ uid: 1000, gid: 1000 })
  const nobody = { inside: 1000, outside: 65534, count: 1 }
  return [uidMap(nobody), gidMap(nobody), setgroups([]), setresgid(1000), setresuid(1000)]
}

const readOnly = ['MS_BIND', 'MS_RDONLY', 'MS_NOSUID', 'MS_NODEV'] as const
const closed = ['MS_NOSUID', 'MS_NODEV'] as const

/** A root in memory, no more of it than 16 MB: the machine's programs, four devices, and the submission. */
function root(program: Uint8Array): Steps {
  return [
    makePrivate('/', { recursive: true }),
    mount({ source: 'tmpfs', target: '/tmp', type: 'tmpfs', flags: closed, data: 'size=16m,mode=755' }),
    chdir('/tmp'),
    [mkdir('usr'), bind('/usr', 'usr'), remount('usr', readOnly)],
    ['bin', 'lib', 'lib64'].map((name) => symlink(`usr/${name}`, name)),
    [mkdir('proc'), mount({ source: 'proc', target: 'proc', type: 'proc', flags: [...closed, 'MS_NOEXEC'] })],
    mkdir('dev'),
    ['null', 'zero', 'full', 'urandom'].map((name) => [
      writeFile(`dev/${name}`, ''),
      bind(`/dev/${name}`, `dev/${name}`),
    ]),
    [mkdir('work', 0o700), writeFile('work/program', program, { mode: 0o755 })],
    [pivotRoot('.', '.'), umount2('.', 'MNT_DETACH'), chdir('/work')],
  ]
}

/** What holds for each process; the cgroup, for all of them together. */
function resources({ seconds, megabytes }: Limits, cgroup: Cgroup | undefined): Steps {
  return [
    setrlimit('RLIMIT_CPU', Math.ceil(seconds)),
    setrlimit('RLIMIT_FSIZE', 8 * MB),
    setrlimit('RLIMIT_CORE', 0),
    setrlimit('RLIMIT_NOFILE', 64),
    cgroup ? [] : [setrlimit('RLIMIT_AS', megabytes * MB), setrlimit('RLIMIT_NPROC', PROCESSES)],
  ]
}

let told = false

/** Undefined where this user or this machine has none to give: the rlimits are what is left then. */
async function limited({ megabytes }: Limits): Promise<Cgroup | undefined> {
  const limits = { 'memory.max': megabytes * MB, 'memory.swap.max': 0, 'pids.max': PROCESSES }
  try {
    return await cgroups.create('judge', limits)
  } catch (error) {
    if (!(error instanceof KernelError)) throw error
    if (!told) console.error(`limits of each process only: ${error.message}`)
    told = true
    return undefined
  }
}

interface Verdict {
  verdict: string
  milliseconds: number
  stdout: string
}

async function judge(file: string, input: string | Uint8Array, limits: Limits): Promise<Verdict> {
  await using cgroup = await limited(limits)
  const command = [...(interpreters[extname(file)] ?? []), '/work/program']
  const start = performance.now()
  const verdict = (verdict: string, stdout = ''): Verdict => ({
    ...{ verdict, stdout },
    milliseconds: Math.round(performance.now() - start),
  })
  try {
    // The shell is the first process of the pid namespace. To that one the kernel delivers no signal that it does not
    // handle, not its own abort() either; and all the others end with it.
    const { code, signal, reason, stdout } = await run('sh', ['-c', '"$@"; exit $?', 'sh', ...command], {
      namespaces: ['user', 'mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup'],
      ...(cgroup && { cgroup }),
      steps: [
        unprivileged(),
        root(readFileSync(file)),
        sethostname('judge'),
        resources(limits, cgroup),
        setNoNewPrivs(),
        setPdeathsig('SIGKILL'), // whatever ends the judge, his programs end
      ],
      detached: true, // or kill(0) would reach the judge: a process group is in no namespace
      env: { PATH: '/usr/bin:/bin', HOME: '/work', LANG: 'C.UTF-8' },
      input,
      timeout: limits.seconds * 1000,
      maxBuffer: 64 << 10,
    })
    // The shell's 128 + n, for what a signal ended; a program that exits with such a number looks the same.
    const by = signal === null && code !== null && code > 128 ? signalName(code - 128) : signal
    if (reason === 'timeout' || by === 'SIGXCPU') return verdict('time limit', stdout)
    if (((await cgroup?.oomKills()) ?? 0) > 0) return verdict('memory limit', stdout)
    return verdict(by ?? (code === 0 ? 'ok' : `exit ${String(code)}`), stdout)
  } catch (error) {
    const { code } = error as { code?: string }
    if (code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER') return verdict('output limit')
    throw error
  }
}

const signalName = (number: number): string =>
  Object.entries(constants.signals).find(([, value]) => value === number)?.[0] ?? `signal ${String(number)}`

const { values, positionals } = parseArgs({
  options: {
    seconds: { type: 'string', default: '2' },
    megabytes: { type: 'string', default: '128' },
  },
  allowPositionals: true,
})
const limits = { seconds: Number(values.seconds), megabytes: Number(values.megabytes) }
const input = process.stdin.isTTY ? '' : readFileSync(0)
for (const file of positionals) {
  const { verdict, milliseconds, stdout } = await judge(file, input, limits)
  const said = JSON.stringify(stdout.length > 40 ? `${stdout.slice(0, 37)}...` : stdout)
  console.log(basename(file).padEnd(12), verdict.padEnd(14), `${String(milliseconds).padStart(5)} ms `, said)
}
