// rmdir(2), once nobody is in it any more.
import { setTimeout as delay } from 'node:timers/promises'
import { boolean, options as checkOptions } from '../steps/arguments.ts'
import { checkWait, isGone, readEvents, untilEvents, type WaitOptions } from './events.ts'
import { isRemoved } from './facts.ts'
import { failure } from './files.ts'
import { kill } from './kill.ts'
import { removeTree, subtree } from './tree.ts'

export interface RemoveOptions extends WaitOptions {
  /** Kills whoever is still in it, or below it. Default: false, which waits for them. */
  kill?: boolean | undefined
}

/** How often, 20 ms apart, an empty cgroup may be EBUSY: the last process may have come and gone. */
const MOST_REFUSALS = 50

export function checkRemove(options: RemoveOptions): void {
  const { kill, signal } = checkOptions<RemoveOptions>(options, 'remove', ['kill', 'signal'])
  if (kill !== undefined) boolean(kill, 'remove: kill')
  checkWait({ signal }, 'remove')
}

/** `at` is it, by a descriptor; `here` gives its path, or throws where that leads to another by now. */
export async function remove(
  at: string,
  here: () => Promise<string>,
  { kill: killing = false, signal }: RemoveOptions,
): Promise<void> {
  for (let refusals = 0; !(await isRemoved(at));) {
    if (killing) await killMembers(at)
    await untilEvents(at, ({ populated }) => !populated, { signal })
    const path = await here().catch(async (error: unknown) => {
      if (await isRemoved(at)) return undefined
      throw error
    })
    const busy = path === undefined ? undefined : await removeTree(path)
    if (busy === undefined) return
    // Somebody has come in since, or made a cgroup in it.
    if (await isInUse(busy)) {
      refusals = 0
      continue
    }
    if (++refusals === MOST_REFUSALS) {
      const hint = 'it has neither processes nor cgroups below it, and yet the kernel does not let it go'
      throw failure('EBUSY', 'rmdir', busy, hint)
    }
    await delay(20)
  }
}

/** A threaded cgroup can be removed, but not killed: only what has members needs it. */
async function killMembers(at: string): Promise<void> {
  try {
    if ((await readEvents(at)).populated) await kill(at)
  } catch (error) {
    if (!isGone(error)) throw error
  }
}

/** Whether there is something to wait for. */
async function isInUse(path: string): Promise<boolean> {
  try {
    return (await readEvents(path)).populated || (await subtree(path)).length > 1
  } catch (error) {
    if (isGone(error)) return false
    throw error
  }
}
