// The child's descriptors from 0 on, and our ends of them.
import { openSync } from 'node:fs'
import { Socket } from 'node:net'
import { check } from './errors.ts'
import { native } from './native.ts'
import type { Source } from './options.ts'
import { Pty } from './pty.ts'

export interface Prepared {
  /** Child's descriptor → ours that it becomes. */
  placed: { target: number; source: number }[]
  /** Of those, which were made here: closed once the child has its copies. */
  theirs: number[]
  streams: (Socket | null)[]
  pty: Pty | undefined
}

let devNull: number | undefined

function nothing(): number {
  devNull ??= openSync('/dev/null', 'r+')
  return devNull
}

const ends = new Int32Array(2)

function pair(make: 'pipe' | 'socketpair' | 'openpty', details = {}): [number, number] {
  check(native()[make](ends), make === 'pipe' ? 'pipe2' : make, details)
  return [ends[0] ?? -1, ends[1] ?? -1]
}

/** Descriptors 0 to 2 are pipes, which /dev/stdin and its like can open again; higher ones are duplex, as in Node. */
function connect(target: number, theirs: number[]): Socket {
  const [first, second] = pair(target < 3 ? 'pipe' : 'socketpair')
  const [ours, child] = target === 0 ? [second, first] : [first, second]
  theirs.push(child)
  return new Socket({ fd: ours, readable: target !== 0, writable: target === 0 || target > 2 })
}

/** `ptyFromSteps`: a step sends the master; until then 0 to 2 are /dev/null. */
export function prepare(sources: readonly Source[], ptyFromSteps: boolean): Prepared {
  const prepared: Prepared = { placed: [], theirs: [], streams: [], pty: undefined }
  const { placed, theirs, streams } = prepared
  let slave: number | undefined
  try {
    for (const [target, source] of sources.entries()) {
      streams.push(null)
      if (source === 'pipe') {
        streams[target] = connect(target, theirs)
        placed.push({ target, source: theirs.at(-1) ?? -1 })
      } else if (source === 'pty' && !ptyFromSteps) {
        if (slave === undefined) {
          const [master, other] = pair('openpty', { path: '/dev/ptmx' })
          slave = other
          theirs.push(slave)
          prepared.pty = new Pty(master)
        }
        placed.push({ target, source: slave })
      } else if (typeof source === 'object') {
        placed.push({ target, source: source.fd })
      } else if (target < 3) {
        placed.push({ target, source: nothing() })
      }
    }
  } catch (error) {
    discard(prepared)
    throw error
  }
  return prepared
}

export function discard({ streams, pty, theirs }: Prepared): void {
  for (const stream of streams) stream?.destroy()
  pty?.destroy()
  for (const fd of theirs) native().close(fd)
}
