// The values of interface files: get() and set(), and their types.
import { invalid, show } from '../errors.ts'
import { type CgroupValue, checkFile, checkValue, readFile, writeFile } from './files.ts'
import type { Readable, Writable } from './formats.ts'
import { type files, type Format, formatOf } from './interface.ts'

type Files = typeof files
type Key = keyof Files
type HugePageSize = `${number}${'KB' | 'MB' | 'GB'}`

/** The name that a row of the table has, or the names. */
type NameOf<Row extends Key> = Row extends `hugetlb.<size>.${infer Rest}`
  ? `hugetlb.${HugePageSize}.${Rest}`
  : Row
type RowOf<Name extends string> = Name extends `hugetlb.${HugePageSize}.${infer Rest}`
  ? `hugetlb.<size>.${Rest}`
  : Name

type Rows<Format> = { [Row in Key]: Files[Row] extends Format ? Row : never }[Key]
type ReadableRow = Rows<Readable<unknown>>
type WritableRow = Rows<Writable<never>>

type Given<Row extends Key> = Files[Row] extends Writable<infer Value> ? Value : never

/** Interface files that `get()` knows. */
export type ReadableFile = NameOf<ReadableRow>

/** Interface files that `set()` knows. */
export type WritableFile = NameOf<WritableRow>

/** What `get()` gives for a file. */
export type FileValue<Name extends ReadableFile> =
  RowOf<Name> extends infer Row extends Key
    ? Files[Row] extends Readable<infer Value>
      ? Value
      : undefined
    : never

/** What `set()` takes for a file. */
export type GivenValue<Name extends WritableFile> =
  RowOf<Name> extends infer Row extends Key ? Given<Row> : never

/** What `set()` gives: what the kernel made of the value; nothing where a file can only be written. */
export type AcceptedValue<Name extends WritableFile> = Name extends ReadableFile ? FileValue<Name> : undefined

type KnownFiles = {
  readonly [Row in Key as Row extends WritableRow ? NameOf<Row> : never]?: Given<Row> | string
}

/**
 * Interface files and what to write to them, in this order: `{ 'memory.max': 64 << 20, 'cpu.max': { quota: 20_000 } }`.
 * A string is written as it is; files that are not known take a string, a number or a bigint.
 */
export type CgroupFiles = KnownFiles & Readonly<Record<string, CgroupValue | boolean | object>>

function known(file: string): Format {
  checkFile(file, 'file')
  const format = formatOf(file)
  if (format === undefined) {
    throw invalid('file', `no interface file ${show(file)} is known: read() and write() take any`)
  }
  return format
}

async function parsed(at: string, file: string, { parse }: Readable<unknown>): Promise<unknown> {
  const text = await readFile(at, file)
  try {
    return parse(text)
  } catch (cause) {
    throw new Error(`${file} is not what is known of it (read() gives its text): ${String(cause)}`, { cause })
  }
}

export async function getFile<Name extends ReadableFile>(at: string, file: Name): Promise<FileValue<Name>> {
  const { parse } = known(file)
  if (parse === undefined) throw invalid('file', `${file} can only be written`)
  return (await parsed(at, file, { parse })) as FileValue<Name>
}

export async function setFile<Name extends WritableFile>(
  at: string,
  file: Name,
  value: GivenValue<Name>,
): Promise<AcceptedValue<Name>> {
  const { format, parse } = known(file)
  if (format === undefined) throw invalid('file', `${file} can only be read`)
  for (const text of format(value, file)) await writeFile(at, file, text)
  return (parse === undefined ? undefined : await parsed(at, file, { parse })) as AcceptedValue<Name>
}

/** What create() has to write. */
export function writesOf(file: string, value: unknown, argument: string): string[] {
  const { format } = formatOf(file) ?? {}
  if (format === undefined || typeof value === 'string') return [checkValue(value, argument)]
  return format(value as never, argument)
}
