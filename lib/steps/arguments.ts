// How the constructors check what they are given. An argument is named with its call: 'mount: target'.
import type { constants } from 'node:os'
import { invalid, outOfRange, show } from '../errors.ts'
import { type FdLike, fdNumber, isFdLike } from '../fd.ts'
import { type Argument, FdStep, Procfs, Step } from '../step.ts'

/** The directory that relative paths start from: the process's own. */
export const AT_FDCWD = -100

/** A descriptor by the child's own number for it: see `childFd`. */
export class ChildFd {
  readonly number: number

  constructor(number: number) {
    this.number = integer(number, 'childFd: number', 0, 0x7fff_ffff)
    Object.freeze(this)
  }
}

/**
 * A descriptor by the child's own number for it: 0 to 2, others of `stdio`, or what `dup` has placed there. A
 * mere number in a step is one of the caller's, which the child is given a copy of.
 */
export function childFd(number: number): ChildFd {
  return new ChildFd(number)
}

/** A descriptor of the caller, the step that opens it in the child, or the child's own. */
export type FdArgument = FdLike | FdStep | ChildFd

/** Where a relative path starts: a directory's descriptor, or `procfs`. */
export type Directory = FdArgument | Procfs

/** Names of errnos: 'EEXIST'. */
export type Errnos = readonly (keyof typeof constants.errno)[]

export function text(value: unknown, argument: string, { empty = false, most = Infinity } = {}): string {
  if (typeof value !== 'string') throw invalid(argument, `expected a string, got ${show(value)}`)
  if (value === '' && !empty) throw invalid(argument, 'is empty')
  if (value.includes('\0')) throw invalid(argument, `holds a NUL byte: ${show(value)}`)
  if (!value.isWellFormed()) throw invalid(argument, `is not well-formed Unicode: ${show(value)}`)
  const length = Buffer.byteLength(value)
  if (length > most) throw outOfRange(argument, `${String(length)} bytes, the kernel takes ${String(most)}`)
  return value
}

/** A path, which the kernel resolves: relative ones are allowed, empty ones are not. */
export function path(value: unknown, argument: string): string {
  return text(value, argument)
}

export function optionalText(
  value: unknown,
  argument: string,
  limits?: { empty?: boolean; most?: number },
): string | null {
  return value === undefined || value === null ? null : text(value, argument, limits)
}

export function bytes(value: unknown, argument: string): string | Uint8Array {
  if (value instanceof Uint8Array) return value
  if (typeof value !== 'string')
    throw invalid(argument, `expected a string or a Uint8Array, got ${show(value)}`)
  if (!value.isWellFormed()) throw invalid(argument, `is not well-formed Unicode: ${show(value)}`)
  return value
}

export function integer(value: unknown, argument: string, least: number, most: number): number {
  if (typeof value !== 'number') throw invalid(argument, `expected a number, got ${show(value)}`)
  if (!Number.isInteger(value) || value < least || value > most) {
    throw outOfRange(
      argument,
      `expected an integer from ${String(least)} to ${String(most)}, got ${String(value)}`,
    )
  }
  return value
}

export function boolean(value: unknown, argument: string): boolean {
  if (typeof value !== 'boolean') throw invalid(argument, `expected a boolean, got ${show(value)}`)
  return value
}

/** Permission bits, with set-uid, set-gid and sticky. */
export function mode(value: unknown, argument: string): number {
  return integer(value, argument, 0, 0o7777)
}

/** A user's or group's id; the last number is the kernel's "no id". */
export function id(value: unknown, argument: string): number {
  return integer(value, argument, 0, 0xffff_fffe)
}

export function fd(value: unknown, argument: string): FdArgument {
  if (value instanceof FdStep || value instanceof ChildFd) return value
  if (value instanceof Step) throw invalid(argument, `this step gives no fd: ${String(value)}`)
  if (!isFdLike(value))
    throw invalid(argument, `expected an fd, or a step that opens one, got ${show(value)}`)
  fdNumber(value, argument)
  return value
}

/** As the plan takes it: a bigint is the child's own number. */
export function cell(fd: Directory | null): Argument {
  return fd instanceof ChildFd ? BigInt(fd.number) : fd
}

/** Where relative paths start; null is AT_FDCWD. */
export function dirfd(value: unknown, argument: string): Directory | null {
  if (value instanceof Procfs) return value
  return value === undefined || value === null || value === AT_FDCWD ? null : fd(value, argument)
}

/** A number of the child's own, which need not be open here. */
export function fdTarget(value: unknown, argument: string): number {
  return integer(value, argument, 0, 0x7fff_ffff)
}

/** An object of options without a key that is not known. */
export function options<Options extends object>(
  value: unknown,
  call: string,
  known: readonly (keyof Options & string)[],
): Options {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(`${call}: options`, `expected an object, got ${show(value)}`)
  }
  for (const key of Object.keys(value)) {
    if ((known as readonly string[]).includes(key)) continue
    throw invalid(`${call}: ${key}`, `no such option; known are ${known.join(', ')}`)
  }
  return value as Options
}

/** The number that a name stands for, or a number as it is. */
export function named(
  value: unknown,
  argument: string,
  names: Readonly<Record<string, number>>,
  least = 0,
  most = 0x7fff_ffff,
): number {
  if (typeof value !== 'string') return integer(value, argument, least, most)
  const number = Object.hasOwn(names, value) ? names[value] : undefined
  if (number === undefined)
    throw invalid(argument, `no ${show(value)}; known are ${Object.keys(names).join(', ')}`)
  return number
}
