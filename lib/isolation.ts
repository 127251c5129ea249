import { format, rows } from './isolation/format.ts'
import { isolation as of } from './isolation/isolation.ts'

export type { IsolationRow } from './isolation/format.ts'
export type { Compared, Isolation, IsolationOptions, Root } from './isolation/isolation.ts'
export type { Limit, LimitFile, Limits } from './isolation/limits.ts'

/** `isolation(pid)` is data; `isolation.format()` makes a table of that, of `isolation.rows()`. */
export const isolation = Object.assign(of, { format, rows })
