// selinuxfs: where it is, its small files, and its transactions: a question is written, the answer is read.
import { closeSync, openSync, readFileSync, readSync, statfsSync, writeSync } from 'node:fs'
import { constants } from 'node:os'
import { codeOf, kernelError } from '../cgroups/files.ts'
import { KernelError } from '../errors.ts'
import { parseMountinfo } from '../mountinfo.ts'
import { quietly, requireSelinux } from './enabled.ts'

const SELINUX_MAGIC = 0xf97c_ff8c

const hints: Readonly<Record<string, string>> = {
  EROFS: 'selinuxfs is mounted read-only here, as container engines do',
  EACCES: 'the policy does not let this domain ask that (class security)',
  EINVAL: 'the loaded policy knows no such context (user:role:type:level)',
  EFBIG: 'question and contexts are longer than a page',
}

let found: string | undefined

/** Where selinuxfs is mounted; throws where SELinux is off, or where this mount namespace has none. */
export function mountPoint(syscall: string): string {
  requireSelinux(syscall)
  const isIt = (path: string): boolean => quietly(() => statfsSync(path).type) === SELINUX_MAGIC
  if (found !== undefined && isIt(found)) return found
  // Of this very thread: it may have a mount namespace of its own.
  const mounts = parseMountinfo(readFileSync('/proc/thread-self/mountinfo', 'utf8'))
  found = mounts.find(({ type, mountPoint }) => type === 'selinuxfs' && isIt(mountPoint))?.mountPoint
  if (found !== undefined) return found
  throw new KernelError({
    errno: constants.errno.ENOENT,
    syscall,
    hint: 'selinuxfs is not mounted here: mount({ source: "selinuxfs", target: "/sys/fs/selinux", type: "selinuxfs" })',
  })
}

/** One of its files, without the newline that some have; what to say where there is none. */
export function read(syscall: string, file: string, missing?: () => string): string {
  const path = `${mountPoint(syscall)}/${file}`
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    const none = missing && codeOf(error) === 'ENOENT' ? { ENOENT: missing() } : {}
    throw kernelError(error, { syscall, path }, { ...hints, ...none })
  }
}

/** The answer to a question, of the file that answers it. */
export function ask(syscall: string, file: string, question: string): string {
  const path = `${mountPoint(syscall)}/${file}`
  let fd: number | undefined
  try {
    fd = openSync(path, 'r+')
    writeSync(fd, question)
    const answer = Buffer.alloc(4096)
    return answer.toString('utf8', 0, readSync(fd, answer)).replace(/[\0\n]+$/, '')
  } catch (error) {
    throw kernelError(error, { syscall, path, dest: question }, hints)
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}
