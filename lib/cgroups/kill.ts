import { constants } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { check, errnoName, errnoNumber, KernelError } from '../errors.ts'
import { Fd } from '../fd.ts'
import { native } from '../native.ts'
import { readEvents } from './events.ts'
import { isRemoved, typeOf } from './facts.ts'
import { codeOf, readWords, writeFile } from './files.ts'
import { subtree } from './tree.ts'

const SIGKILL = constants.signals.SIGKILL

export async function kill(path: string): Promise<void> {
  try {
    await writeFile(path, 'cgroup.kill', '1')
  } catch (error) {
    if (codeOf(error) !== 'ENOENT' || (await isRemoved(path))) throw error
    await killEach(path)
  }
}

/** What `cgroup.kill` does, for kernels before 5.14: resolves when all are gone. */
export async function killEach(path: string): Promise<void> {
  // Frozen, they can not fork away from the list; one that was forked while it was read is in the next one.
  await writeFile(path, 'cgroup.freeze', '1')
  try {
    while ((await readEvents(path)).populated) {
      for (const directory of await subtree(path)) {
        // Those of a threaded one below are in the list of its domain.
        if (directory !== path && (await typeOf(directory)) === 'threaded') continue
        const pids = (await readWords(directory, 'cgroup.procs')).map(Number)
        for (let at = 0; at < pids.length; at += BATCH) await killAll(pids.slice(at, at + BATCH), directory)
      }
      await delay(2)
    }
  } finally {
    await writeFile(path, 'cgroup.freeze', '0')
  }
}

/** Those that are held at the same time. */
const BATCH = 64

/** Each is held, and seen in the cgroup again: one that has ended meanwhile may have left its pid to a stranger. */
async function killAll(pids: readonly number[], directory: string): Promise<void> {
  const held: [pid: number, pidfd: Fd][] = []
  try {
    for (const pid of pids) {
      const pidfd = hold(pid, directory)
      if (pidfd) held.push([pid, pidfd])
    }
    const still = new Set((await readWords(directory, 'cgroup.procs')).map(Number))
    for (const [pid, pidfd] of held) {
      if (!still.has(pid)) continue
      const result = native().pidfdSendSignal(pidfd.fd, SIGKILL)
      if (errnoName(-result) !== 'ESRCH') check(result, 'pidfd_send_signal', { path: directory })
    }
  } finally {
    for (const [, pidfd] of held) pidfd.close()
  }
}

function hold(pid: number, path: string): Fd | undefined {
  if (pid === 0) {
    const hint =
      'a process of it belongs to another pid namespace; Linux 5.14 can kill it through cgroup.kill'
    throw new KernelError({ errno: errnoNumber('ESRCH') ?? 0, syscall: 'pidfd_open', path, hint })
  }
  const fd = native().pidfdOpen(pid)
  if (errnoName(-fd) === 'ESRCH') return undefined
  return new Fd(check(fd, 'pidfd_open', { path }), 'pidfd')
}
