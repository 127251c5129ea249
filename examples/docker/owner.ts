// What the owner of one process does: starts it, opens a door for signals, waits, and keeps how it ended.
// Of a detached one that is the shim, of an attached one the command itself.
import { createServer, type Server, type Socket } from 'node:net'
import { constants } from 'node:os'
import { join } from 'node:path'
import type { Process, Signal } from 'fancyproc'
import { start, type Start } from './sandbox.ts'
import { type Container, directory, forget, quietly, save, startTimeOf } from './state.ts'

/**
 * Starts it; `connect` is called the moment it runs, before any of its output could be lost. Resolves when it runs, to
 * the promise of its exit code.
 */
export async function own(
  container: Container,
  how: Start,
  connect: (child: Process) => void,
): Promise<{ ended: Promise<number> }> {
  const { child, cgroup } = await start(container, how)
  const closed = new Promise<unknown>((resolve) => child.once('close', resolve))
  child.once('spawn', () => {
    connect(child)
  })
  try {
    await child.spawned
    container.owner = process.pid
    container.pid = child.pid
    container.startTime = startTimeOf(child.pid)
  } catch (error) {
    await cgroup?.remove({ kill: true })
    throw error
  }
  const door = await openDoor(container, child)
  remember(container)

  const ended = child.exited.then(async ({ code, signal }) => {
    await closed
    await cgroup?.remove({ kill: true })
    container.exitCode = code ?? 128 + constants.signals[signal ?? 'SIGKILL']
    container.finished = new Date().toISOString()
    if (container.rm) forget(container)
    else remember(container)
    door.shut()
    return container.exitCode
  })
  return { ended }
}

/** The engine may have lost its memory; that is no reason to stop. */
function remember(container: Container): void {
  quietly(() => {
    save(container)
  })
}

/**
 * A socket: who writes a signal's name to it has it sent, by a pidfd, so that it never hits a stranger.
 */
async function openDoor(container: Container, child: Process): Promise<{ shut: () => void }> {
  const visitors = new Set<Socket>()
  const server: Server = createServer((socket) => {
    visitors.add(socket)
    socket.on('error', () => undefined)
    socket.setEncoding('utf8').on('data', (line: string) => quietly(() => child.kill(line.trim() as Signal)))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(join(directory(container), 'door'), resolve)
  })
  return {
    shut: () => {
      server.close()
      // They are hung up on when this process has ended, and so learn that, too.
      for (const socket of visitors) socket.unref()
    },
  }
}
