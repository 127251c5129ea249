// Events of children (and of polled fds), on their way from the native side to whoever holds them.
import { readSync } from 'node:fs'
import { errnoNumber } from './errors.ts'
import { Fd } from './fd.ts'
import { EVENT_LENGTH, EVENT_SEEN, native, onEvents } from './native.ts'
import type { Result } from './plan.ts'

export const receive: unique symbol = Symbol('receive')

export interface Receiver {
  [receive](row: Float64Array): void
}

const living = new Map<number, Receiver>()

/** From the id that the native side gave until `forget`. */
export function follow(id: number, receiver: Receiver): void {
  living.set(id, receiver)
}

export function forget(id: number): void {
  living.delete(id)
}

/** The event loop is kept alive by children that have not ended nor been unref()ed; the native side counts them. */
export function reference(change: 1 | -1): void {
  if (change > 0) native().ref()
  else native().unref()
}

onEvents((rows) => {
  for (let at = 0; at < rows.length; at += EVENT_LENGTH) {
    const row = rows.subarray(at, at + EVENT_LENGTH)
    try {
      const receiver = living.get(row[0] ?? -1)
      if (!receiver) continue
      // A Worker may be ended before it comes to the next row: the descriptors of those that it has not looked at are closed.
      row[EVENT_SEEN] = 1
      receiver[receive](row)
    } catch (error) {
      // What one listener throws is uncaught, as with any emitter, and keeps nothing from the other children.
      process.nextTick(() => {
        throw error
      })
    }
  }
})

/** Does what a held step of a child waits for, and lets it go on; 0, or the errno that its step has. */
export type Held = (step: number, pid: number, pidfd: Fd) => Promise<number>

const EIO = errnoNumber('EIO') ?? 5

/** The pidfd tells whether the pid has still been the child's when something was opened by that. */
export function answer(id: number, step: number, pid: number, held: Held): void {
  const number = native().pidfd(id)
  if (number < 0) return void native().resume(id, -number)
  const pidfd = new Fd(number, 'pidfd')
  void held(step, pid, pidfd)
    .catch(() => EIO)
    .then((errno) => {
      pidfd.close()
      native().resume(id, errno)
    })
}

/** FP_LABEL of native/plan.h. */
const LABEL = 1024

/** The label of a program that was refused, out of the same memory; closes that. */
export function readLabel(page: number, length: number): string {
  try {
    const bytes = Buffer.alloc(length)
    readSync(page, bytes, 0, length, LABEL)
    return bytes.toString('utf8').replace(/[\0\n]+$/, '')
  } finally {
    native().close(page)
  }
}

/** What steps have read, by name, out of the memory that was shared with the child; closes that. */
export function readResults(
  page: number,
  results: readonly Result[],
  data: Record<string, Buffer>,
): Record<string, Buffer> {
  try {
    for (const { name, at, room } of results) {
      const length = Buffer.alloc(8)
      readSync(page, length, 0, 8, at)
      const bytes = Buffer.alloc(Math.min(Number(length.readBigUInt64LE()), room))
      readSync(page, bytes, 0, bytes.length, at + 8)
      data[name] = bytes
    }
    return data
  } finally {
    native().close(page)
  }
}
