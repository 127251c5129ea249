// Who writes the id maps of a new user namespace: the child itself, this process, or newuidmap(1).
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { errnoNumber } from './errors.ts'
import type { Fd } from './fd.ts'
import { native } from './native.ts'
import { lastIndexOf, type Step } from './step.ts'
import { MapStep } from './steps/identity.ts'

const EIO = errnoNumber('EIO') ?? 5
const ESRCH = errnoNumber('ESRCH') ?? 3
const CAP_SETGID = 6
const CAP_SETUID = 7

function capable(capability: number): boolean {
  const status = readFileSync('/proc/thread-self/status', 'latin1')
  const effective = /^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'
  return ((BigInt(`0x${effective}`) >> BigInt(capability)) & 1n) === 1n
}

/** One's own id alone is what any process may map; all else takes privilege outside the new namespace. */
function isOwn({ kind, ranges }: MapStep): boolean {
  const own = kind === 'uid' ? process.geteuid?.() : process.getegid?.()
  return ranges.length === 1 && ranges[0]?.count === 1 && ranges[0].outside === own
}

/** The steps with the maps that this side writes held until it has. */
export function holdMaps(steps: readonly Step[], newUser: boolean): readonly Step[] {
  if (lastIndexOf(steps, 'uid_map') < 0 && lastIndexOf(steps, 'gid_map') < 0) return steps
  // How many user namespaces below ours: only of the first are we the parent, who may write.
  let depth = newUser ? 1 : 0
  let denied = false
  return steps.map((step, index) => {
    depth += entersUserNamespace(step)
    denied ||= step.operation === 'setgroups_deny'
    if (!(step instanceof MapStep) || depth > 1) return step
    // Without a privileged writer, one's own gid alone can be mapped only once setgroups is denied.
    const asChild = isOwn(step) && (step.kind === 'uid' || denied || !capable(CAP_SETGID))
    return asChild ? step : step.heldBy(index)
  })
}

const CLONE_NEWUSER = 0x10000000

function entersUserNamespace({ operation, args }: Step): number {
  if (operation === 'unshare' || operation === 'clone') return Number(args[0]) & CLONE_NEWUSER ? 1 : 0
  // Of unknown depth: no parent of it.
  return operation === 'setns' && (args[1] === 0 || Number(args[1]) & CLONE_NEWUSER) ? 2 : 0
}

export type RunTool = (file: string, args: string[]) => Promise<{ code: number | null; stderr: string }>

/** It has been reaped, and its pid may be a stranger's. */
const gone = (pidfd: Fd): boolean => native().pidfdSendSignal(pidfd.fd, 0) === -ESRCH

/** Writes the map of a held child: 0, or an errno and what the tool said. */
export async function writeMap(
  step: MapStep,
  pid: number,
  pidfd: Fd,
  run: RunTool,
): Promise<{ errno: number; said?: string }> {
  if (capable(step.kind === 'uid' ? CAP_SETUID : CAP_SETGID)) {
    const lines = step.ranges.map(({ inside, outside, count }) => [inside, outside, count].join(' '))
    try {
      const file = openSync(`/proc/${String(pid)}/${step.kind}_map`, 'w')
      try {
        if (gone(pidfd)) return { errno: ESRCH }
        writeSync(file, `${lines.join('\n')}\n`)
      } finally {
        closeSync(file)
      }
      return { errno: 0 }
    } catch (error) {
      return { errno: -((error as NodeJS.ErrnoException).errno ?? -EIO) }
    }
  }
  const tool = step.kind === 'uid' ? 'newuidmap' : 'newgidmap'
  const numbers = step.ranges.flatMap(({ inside, outside, count }) => [inside, outside, count].map(String))
  const refused = errnoNumber('EPERM') ?? 1
  if (gone(pidfd)) return { errno: ESRCH }
  try {
    const { code, stderr } = await run(tool, [String(pid), ...numbers])
    return code === 0 ? { errno: 0 } : { errno: refused, said: `${tool} said: ${stderr.trim()}` }
  } catch {
    return {
      errno: refused,
      said: `a map of more than one's own id takes CAP_SET${step.kind.toUpperCase()}, or ${tool} (Debian: uidmap), which could not be run`,
    }
  }
}
