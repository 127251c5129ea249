// cgroup.events: what it says, and waiting for it to say something else. How the kernel tells of changes.
import { watch } from 'node:fs'
import { basename, dirname } from 'node:path'
import { checkSignal } from '../changes.ts'
import { options as checkOptions } from '../steps/arguments.ts'
import { realPath } from './facts.ts'
import { codeOf, readFile, writeFile } from './files.ts'

export interface CgroupEvents {
  /** Whether the cgroup, or one below it, has a live process. */
  populated: boolean
  /** Whether all its processes have stopped, after `freeze()`. */
  frozen: boolean
}

export interface WaitOptions {
  /** Ends the wait; nothing else is undone. */
  signal?: AbortSignal | undefined
}

export function checkWait(options: WaitOptions, call: string): void {
  const { signal } = checkOptions<WaitOptions>(options, call, ['signal'])
  checkSignal(signal, `${call}: signal`)
}

export function parseEvents(text: string): CgroupEvents {
  return { populated: /^populated 1$/m.test(text), frozen: /^frozen 1$/m.test(text) }
}

export async function readEvents(path: string): Promise<CgroupEvents> {
  return parseEvents(await readFile(path, 'cgroup.events'))
}

/** ENOENT where it is no more, ENODEV where it went while we read. */
export function isGone(error: unknown): boolean {
  const code = codeOf(error)
  return code === 'ENOENT' || code === 'ENODEV'
}

/** Waits until the kernel says so in `cgroup.events`. One that was removed counts as empty. */
export async function untilEvents(
  path: string,
  wanted: (events: CgroupEvents) => boolean,
  { signal }: WaitOptions = {},
): Promise<void> {
  let wake: (() => void) | undefined
  const notify = (): void => {
    wake?.()
  }
  signal?.throwIfAborted()
  signal?.addEventListener('abort', notify)
  const unsubscribe = subscribe(path, 'cgroup.events', notify)
  try {
    for (;;) {
      // Before the read, so that no change is missed.
      const change = new Promise<void>((resolve) => (wake = resolve))
      if (await holds(path, wanted)) return
      await change
      signal?.throwIfAborted()
    }
  } finally {
    unsubscribe()
    signal?.removeEventListener('abort', notify)
  }
}

export async function setFrozen(path: string, frozen: boolean, options: WaitOptions): Promise<void> {
  options.signal?.throwIfAborted()
  await writeFile(path, 'cgroup.freeze', frozen ? '1' : '0')
  await untilEvents(path, (events) => events.frozen === frozen, options)
}

async function holds(path: string, wanted: (events: CgroupEvents) => boolean): Promise<boolean> {
  try {
    return wanted(await readEvents(path))
  } catch (error) {
    if (isGone(error) && wanted({ populated: false, frozen: false })) return true
    throw error
  }
}

/** inotify: the kernel marks a file of events as modified. */
export function subscribe(path: string, file: string, notify: () => void): () => void {
  const stops: (() => void)[] = []
  const unsubscribe = (): void => {
    for (const stop of stops) stop()
  }
  const subscribeTo = (watched: string, listener: (event: string, name: string | null) => void): void => {
    const watcher = watch(watched, listener)
    watcher.on('error', notify)
    stops.push(() => {
      watcher.close()
    })
  }
  try {
    subscribeTo(`${path}/${file}`, notify)
    // The last change is not told if it came within 10 ms of another one, and the cgroup is removed at once: that removal is.
    const real = realPath(path)
    const name = basename(real)
    subscribeTo(dirname(real), (_, changed) => {
      if (changed === name || changed === null) notify()
    })
    return unsubscribe
  } catch {
    // This user's inotify instances or watches are used up. (Or the cgroup is gone, which the first read tells.)
    unsubscribe()
    const timer = setInterval(notify, 20)
    return () => {
      clearInterval(timer)
    }
  }
}
