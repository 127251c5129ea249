import { setTimeout as delay } from 'node:timers/promises'
import { errnoNumber, KernelError } from '../errors.ts'
import { readEvents } from './events.ts'
import { isRemoved, typeOf } from './facts.ts'
import { codeOf, kernelError, readWords, writeFile } from './files.ts'
import { subtree } from './tree.ts'

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
        for (const pid of await readWords(directory, 'cgroup.procs')) sigkill(Number(pid), directory)
      }
      await delay(2)
    }
  } finally {
    await writeFile(path, 'cgroup.freeze', '0')
  }
}

function sigkill(pid: number, path: string): void {
  // To kill(2), 0 would be the caller's own process group.
  if (pid === 0) {
    const hint =
      'a process of it belongs to another pid namespace; Linux 5.14 can kill it through cgroup.kill'
    throw new KernelError({ errno: errnoNumber('ESRCH') ?? 0, syscall: 'kill', path, hint })
  }
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw kernelError(error, { path })
  }
}
