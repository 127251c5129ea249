// docker exec: one more ordinary process, where the first one is and with no more rights than that has.
import { constants } from 'node:os'
import { isatty } from 'node:tty'
import { type Inherited, inNamespaces, processes, type ProcessHandle, ps, spawn } from 'fancyproc'
import { chdir, keepBounding, openpty, readFile, setgroups, setresgid, setresuid } from 'fancyproc/steps'
import type { Steps } from 'fancyproc/steps'
import { lend, windowSize } from './attached.ts'
import { parse } from './options.ts'
import { Refusal } from './refusal.ts'
import { environment } from './run.ts'
import { ordinaryUser } from './sandbox.ts'
import { type Container, find, isRunning } from './state.ts'

const options = {
  interactive: { type: 'boolean', short: 'i', help: 'give it our standard input' },
  tty: { type: 'boolean', short: 't', help: 'give it a pseudo-terminal' },
  user: { type: 'string', short: 'u', help: 'NAME or UID, and :GROUP or :GID' },
  env: { type: 'string', short: 'e', multiple: true, help: 'NAME=VALUE, or NAME for our own value' },
  workdir: { type: 'string', short: 'w', help: 'a directory in there, instead of /' },
} as const

export async function exec(args: string[]): Promise<number> {
  const { values, operands } = parse('exec', 'exec [OPTIONS] CONTAINER COMMAND [ARG...]', options, args)
  const [wanted, file, ...rest] = operands
  if (wanted === undefined || file === undefined)
    throw new Refusal("'docker exec' takes a container and a program")
  const { tty = false, interactive = false, user, env = [], workdir = '/' } = values
  if (tty && interactive && !isatty(0)) throw new Refusal('the input device is not a TTY')
  const container = find(wanted)
  using target = hold(container)
  // The setup's last steps give up what it took to come in: the target's sets, no_new_privs and label.
  const inherit: Inherited[] = ['root', 'env', 'no_new_privs']
  if (user === undefined) inherit.push('ids', 'capabilities')
  if (container.cgroup !== undefined) inherit.push('cgroup')
  if (container.label !== undefined) inherit.push('label')
  const child = spawn(file, rest, {
    join: { target, inherit },
    env: { ...(tty && { TERM: 'xterm' }), ...environment(env) },
    stdio: tty ? 'pty' : [interactive ? 'inherit' : 'ignore', 'inherit', 'inherit'],
    ...(tty && { pty: windowSize() }),
    steps: [
      user === undefined ? [] : await become(target, user),
      chdir(workdir),
      tty ? openpty('/dev/pts/ptmx', windowSize()) : [],
    ],
  })
  const closed = new Promise((resolve) => child.once('close', resolve))
  const takeBack = lend(child, tty, interactive)
  try {
    const { code, signal } = await child.exited
    await closed
    return code ?? 128 + constants.signals[signal ?? 'SIGKILL']
  } finally {
    await takeBack()
  }
}

/** By a pidfd: should it end now, nobody who is given its pid is taken for it. */
function hold(container: Container): ProcessHandle {
  if (!isRunning(container)) throw new Refusal(`${container.name} is not running`)
  const handle = processes.open(container.pid ?? 0)
  if (isRunning(container)) return handle
  handle.close()
  throw new Refusal(`${container.name} is not running`)
}

/** What a user has who is not root is nothing, and root has what is in the bounding set. */
async function become(target: ProcessHandle, wanted: string): Promise<Steps> {
  const [its] = await ps({ pids: [target.pid], fields: ['capabilities'] })
  const { uid, gid, groups } = await lookUp(target, wanted)
  return [
    keepBounding(its?.capabilities.bounding ?? 0n),
    // In the user namespace of an ordinary user there are no others.
    ordinaryUser ? [] : setgroups(groups),
    setresgid(gid, gid, gid),
    setresuid(uid, uid, uid),
  ]
}

/** Names are those of the files in there. */
async function lookUp(
  target: ProcessHandle,
  wanted: string,
): Promise<{ uid: number; gid: number; groups: number[] }> {
  const { data } = await inNamespaces({ target, inherit: ['root'] }, [
    readFile('passwd', '/etc/passwd'),
    readFile('group', '/etc/group'),
  ])
  const lines = (name: string): string[][] =>
    String(data[name]).split('\n').map((line) => line.split(':')) // prettier-ignore
  const [name = '', group] = wanted.split(':')
  const id = (text: string): number | undefined => (/^\d+$/.test(text) ? Number(text) : undefined)
  const user = lines('passwd').find(([login, , uid]) => login === name || uid === name)
  const uid = id(user?.[2] ?? name)
  const named = lines('group').find(([name]) => name === group)
  const gid = group === undefined ? id(user?.[3] ?? '0') : id(named?.[2] ?? group)
  if (uid === undefined || gid === undefined) throw new Refusal(`--user ${wanted}: there is none in there`)
  const members = lines('group').filter(([, , , list]) => list?.split(',').includes(user?.[0] ?? ''))
  return { uid, gid, groups: group === undefined ? members.map(([, , gid]) => Number(gid)) : [] }
}
