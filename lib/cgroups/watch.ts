// Files of events as async iterators.
import { readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { type Changes, changes, checkSignal, END } from '../changes.ts'
import { invalid, show } from '../errors.ts'
import { options as checkOptions } from '../steps/arguments.ts'
import { isGone, subscribe, type WaitOptions } from './events.ts'
import { readFile } from './files.ts'
import { formatOf } from './interface.ts'
import type { FileValue, ReadableFile } from './values.ts'
import type { Watched } from './watched.ts'

/** Interface files that the kernel marks as modified when they say something else. */
export type EventFile = Extract<ReadableFile, `${string}.events` | `${string}.events.local`>

export interface EventChange<Values> {
  /** As `get()` gives them. */
  values: Values
  /** What they were when the last change was told, or `watch()` called. */
  previous: Values
  /** The names of those that differ. */
  changed: (keyof Values & string)[]
}

function parserOf(file: unknown): (text: string) => object {
  const parse =
    typeof file === 'string' && /\.events(\.local)?$/.test(file) ? formatOf(file)?.parse : undefined
  if (parse !== undefined) return parse as (text: string) => object
  throw invalid('watch: file', `expected a file of events, such as 'memory.events', got ${show(file)}`)
}

function differing(values: object, previous: object): string[] {
  const before = new Map<string, unknown>(Object.entries(previous))
  return Object.entries(values)
    .filter(([name, value]) => !isDeepStrictEqual(value, before.get(name)))
    .map(([name]) => name)
}

export function watchEvents<File extends EventFile>(
  cgroup: Watched,
  file: File,
  options: WaitOptions = {},
): Changes<EventChange<FileValue<File>>> {
  const parse = parserOf(file)
  const { signal } = checkOptions<WaitOptions>(options, 'watch', ['signal'])
  checkSignal(signal, 'watch: signal')
  // At the call, so that nothing after it is missed; kernfs answers from memory.
  let previous = cgroup.now((path): object => parse(readFileSync(`${path}/${file}`, 'utf8')))
  // It was there. Else this throws, the first time.
  const gone = (error: unknown): typeof END => {
    if (previous !== undefined && isGone(error)) return END
    throw error
  }
  const watch = (notify: () => void): (() => void) => {
    try {
      const unsubscribe = subscribe(cgroup.open(), file, notify)
      return () => {
        unsubscribe()
        cgroup.close()
      }
    } catch (error) {
      // Nothing is open, which is the end of it.
      gone(error)
      return () => undefined
    }
  }
  const look = async (): Promise<EventChange<object> | undefined | typeof END> => {
    let text: string | undefined
    try {
      text = await cgroup.look((path) => readFile(path, file))
    } catch (error) {
      return gone(error)
    }
    if (text === undefined) return END
    const values = parse(text)
    const before = (previous ??= values)
    const changed = differing(values, before)
    if (changed.length === 0) return undefined
    previous = values
    return { values, previous: before, changed: changed as never[] }
  }
  const told = changes({ subscribe: watch, look }, signal)
  return told as unknown as Changes<EventChange<FileValue<File>>>
}
