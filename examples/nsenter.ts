// nsenter: a program in the namespaces of another process. `node dist/examples/nsenter.js -t PID -a [PROGRAM [ARG...]]`
import { openSync } from 'node:fs'
import { constants } from 'node:os'
import {
  type Inherited,
  KernelError,
  type JoinSteps,
  joinSteps,
  type NamespaceFds,
  namespaces,
  ps,
  spawn,
} from 'fancyproc'
import {
  chdir,
  chroot,
  fchdir,
  type Namespace,
  open,
  setgroups,
  setresgid,
  setresuid,
  type Steps,
} from 'fancyproc/steps'

const usage = `Usage: nsenter [OPTIONS] [PROGRAM [ARG...]]

  -t, --target PID           whose namespaces
  -a, --all                  all of them
  -m, --mount[=FILE]         one of them; or that of a file, such as /run/netns/blue
  -u, --uts   -i, --ipc   -n, --net   -p, --pid   -C, --cgroup   -U, --user   -T, --time      likewise
  -S, --setuid UID   -G, --setgid GID   ids in there; with a user namespace 0, unless
      --preserve-credentials            they are to stay
  -r, --root[=DIR]           its root directory, or another
  -w, --wd[=DIR]             its working directory, or another
  -W, --wdns DIR             a working directory, as its path is in there
  -e, --env                  its environment
  -c, --join-cgroup          its cgroup
  -Z, --follow-context       its SELinux context`

const kinds: Record<string, Namespace> = {
  mount: 'mnt', uts: 'uts', ipc: 'ipc', net: 'net', pid: 'pid', cgroup: 'cgroup', user: 'user', time: 'time',
} // prettier-ignore
const letters: Record<string, string> = {
  t: 'target', a: 'all', m: 'mount', u: 'uts', i: 'ipc', n: 'net', p: 'pid', C: 'cgroup', U: 'user', T: 'time', S: 'setuid',
  G: 'setgid', r: 'root', w: 'wd', W: 'wdns', e: 'env', c: 'join-cgroup', Z: 'follow-context', h: 'help',
} // prettier-ignore
const known = new Set([...Object.values(letters), 'preserve-credentials'])
const takesValue = new Set(['target', 'setuid', 'setgid', 'wdns'])

function fail(message: string): never {
  console.error(`nsenter: ${message}`)
  process.exit(1)
}

/** As getopt does: options end at the first word that is none; a value that may be left out is in the same word. */
function parse(words: string[]): { given: Map<string, string>; command: string[] } {
  const given = new Map<string, string>()
  while (words[0]?.startsWith('-')) {
    const word = words.shift() ?? ''
    if (word === '--') break
    const [, long, letter = '', value] = /^(?:--([\w-]+)|-(\w))(?:=?(.+))?$/s.exec(word) ?? []
    const name = long ?? letters[letter] ?? ''
    if (!known.has(name)) fail(`unknown option ${word}\n\n${usage}`)
    given.set(name, value ?? (takesValue.has(name) ? (words.shift() ?? fail(`${word} takes a value`)) : ''))
  }
  return { given, command: words }
}

function number(text: string): number {
  return /^\d+$/.test(text) ? Number(text) : fail(`no number: ${text}`)
}

const { given, command } = parse(process.argv.slice(2))
if (given.has('help')) {
  console.log(usage)
  process.exit(0)
}
const target = given.has('target') ? number(given.get('target') ?? '') : undefined

/** By their names, with the files that stand for some of them. */
const wanted = Object.entries(kinds).filter(([name]) => given.has('all') || given.has(name))
const files = wanted.filter(([name]) => given.get(name))

/** Of one process all are joined at once, which works where one after the other would not; files are joined by descriptors. */
function join(pid: number | undefined): JoinSteps | undefined {
  const flags = { root: 'root', wd: 'cwd', env: 'env', 'join-cgroup': 'cgroup', 'follow-context': 'label' }
  const inherit = Object.entries(flags).filter(([name]) => given.get(name) === '').map(([, word]) => word as Inherited) // prettier-ignore
  if (pid === undefined && (inherit.length > 0 || files.length < wanted.length)) fail('whose? -t PID')
  if (pid !== undefined && files.length === 0)
    return joinSteps({ target: pid, namespaces: wanted.map(([, kind]) => kind), inherit })
  if (files.length === 0) return undefined
  if (inherit.length > 0) fail('what is of the target cannot be had together with namespaces of files')
  const fds = wanted.map(([name, kind]) => [kind, given.get(name) || namespaces.open(pid ?? 0, kind)])
  return joinSteps(Object.fromEntries(fds) as NamespaceFds)
}

/** Who enters a user namespace is nobody there before he is given an id. */
async function entersUser(): Promise<boolean> {
  if (!given.has('all') || given.get('user') || target === undefined) return given.has('user')
  const [its, ours] = await ps({ fields: ['namespaces'], pids: [target, process.pid] })
  return its?.namespaces.user !== ours?.namespaces.user
}

async function steps(joined: JoinSteps | undefined): Promise<readonly Steps[]> {
  const directory = (path: string): number => openSync(path, 'r')
  const here = open('.', 'O_PATH')
  const [root, wd, wdns] = [given.get('root'), given.get('wd'), given.get('wdns')]
  const zero = (await entersUser()) && !given.has('preserve-credentials') ? '0' : undefined
  const [uid, gid] = [given.get('setuid') ?? zero, given.get('setgid') ?? zero]
  // Many a user namespace forbids it; who may do it out here is done before he is there.
  const noGroups = gid ? setgroups([]) : []
  const before = process.geteuid?.() === 0
  return [
    before ? noGroups : [],
    joined?.enter ?? [],
    root ? [here, fchdir(directory(root)), chroot('.'), fchdir(here)] : [],
    // Where nothing moves it, the working directory stays: outside of the root.
    root === '' && wd === undefined && !wanted.some(([name]) => name === 'mount')
      ? fchdir(directory('.'))
      : [],
    wd ? fchdir(directory(wd)) : [],
    wdns ? chdir(wdns) : [],
    before ? [] : noGroups,
    gid ? setresgid(...same(number(gid))) : [],
    uid ? setresuid(...same(number(uid))) : [],
    joined?.become ?? [],
  ]
}

const same = (id: number): [number, number, number] => [id, id, id]

const shell = process.env['SHELL'] ?? '/bin/sh'
const [file, ...args] = command.length > 0 ? (command as [string, ...string[]]) : [shell]

// What is typed is for the program: Ctrl-C reaches both of us, and it is the program that ends by it, or does not.
const ignored = ['SIGINT', 'SIGQUIT'] as const
for (const signal of ignored) process.on(signal, () => undefined)

try {
  using joined = join(target)
  const { code, signal } = await spawn(file, args, {
    stdio: 'inherit',
    steps: await steps(joined),
    cgroup: joined?.cgroup,
    ...(command.length === 0 && { argv0: `-${shell.replace(/.*\//, '')}` }),
    env: joined?.env ?? process.env,
  }).exited
  for (const each of ignored) process.removeAllListeners(each)
  // It ended by a signal: so do we.
  if (signal) process.kill(process.pid, signal)
  process.exitCode = code ?? 128 + constants.signals[signal ?? 'SIGKILL']
} catch (error) {
  const missing = error instanceof KernelError && error.syscall === 'execve'
  console.error(`nsenter: ${(error as Error).message}`)
  process.exitCode = missing ? (error.code === 'ENOENT' ? 127 : 126) : 1
}
