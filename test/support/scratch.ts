// A directory for the tests of one file, and steps that wait in it.
import { afterAll, beforeAll } from '@jest/globals'
import { chmodSync, mkdtempSync, readlinkSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { Process } from 'fancyproc'
import { mknod, open, sendFd, type Step } from 'fancyproc/steps'
import { asleep } from './proc.ts'

/** Gives paths in it; it is gone when the tests have run. */
export function scratch(): (...names: string[]) => string {
  let directory: string
  beforeAll(() => {
    directory = realpathSync(mkdtempSync(join(tmpdir(), 'fancyproc-')))
    // Children may be other users.
    chmodSync(directory, 0o755)
  })
  afterAll(() => {
    rmSync(directory, { recursive: true })
  })
  return (...names) => join(directory, ...names)
}

/** Steps that wait for ever: the last one opens a FIFO that nobody writes to. */
export function blocked(fifo: string): Step[] {
  const self = open('/proc/self', 'O_PATH')
  return [mknod(fifo, 0o600, 'S_IFIFO'), self, sendFd('self', self), open(fifo)]
}

/** The pid of a child, once it waits in `blocked` steps. */
export async function begun(child: Process): Promise<number> {
  while (child.fds['self'] === undefined) await new Promise(setImmediate)
  const pid = Number(basename(readlinkSync(`/proc/self/fd/${String(child.fds['self'].fd)}`)))
  await asleep(pid)
  return pid
}
