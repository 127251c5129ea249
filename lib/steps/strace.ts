// How strace prints arguments (`strace -s 4096`), so that a plan can be held against a trace.
import { AT_FDCWD, ChildFd, type Directory } from './arguments.ts'
import { type Call, Procfs, Step } from '../step.ts'

const MOST = 4096

export function call(syscall: string, ...args: string[]): Call {
  return { syscall, args }
}

const escapes: Readonly<Record<number, string>> = {
  0x22: '\\"',
  0x5c: '\\\\',
  0x0a: '\\n',
  0x09: '\\t',
  0x0d: '\\r',
  0x0b: '\\v',
  0x0c: '\\f',
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39
}

/**
 * A string or bytes in quotes; what is neither printable nor ASCII in octal, as short as what follows allows.
 */
export function quote(value: string | Uint8Array | null): string {
  if (value === null) return 'NULL'
  const bytes = typeof value === 'string' ? Buffer.from(value) : value
  let out = ''
  for (const [i, byte] of bytes.subarray(0, MOST).entries()) {
    const escape = escapes[byte]
    if (escape !== undefined) out += escape
    else if (byte >= 0x20 && byte < 0x7f) out += String.fromCharCode(byte)
    else out += `\\${byte.toString(8).padStart(isDigit(bytes[i + 1]) ? 3 : 1, '0')}`
  }
  return bytes.length > MOST ? `"${out}"...` : `"${out}"`
}

export function octal(mode: number): string {
  return `0${mode.toString(8).padStart(2, '0')}`
}

export function hex(value: number | bigint): string {
  return value === 0 || value === 0n ? '0' : `0x${value.toString(16)}`
}

/** A step's fd has no number yet: it goes by the call that opens it. */
export function fdName(fd: Directory | null): string {
  if (fd instanceof Procfs) return '<proc>'
  if (fd === null) return 'AT_FDCWD'
  if (fd instanceof Step) return `<${fd.operation}>`
  if (fd instanceof ChildFd) return String(fd.number)
  const number = typeof fd === 'number' ? fd : fd.fd
  return number === AT_FDCWD ? 'AT_FDCWD' : String(number)
}

/** An unsigned id; all bits set is -1. */
export function idName(id: number): string {
  return id === 0xffff_ffff ? '-1' : String(id)
}
