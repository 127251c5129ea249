// Parser of /proc/PID/mountinfo: proc_pid_mountinfo(5).
import { setImmediate } from 'node:timers/promises'
import { readAtMostLater } from './bounded.ts'
import { failure, kernelError } from './cgroups/files.ts'

/** One mount, as a line of `/proc/PID/mountinfo` has it. */
export interface Mount {
  readonly id: number
  /** The id of the mount that it is mounted on; of a mount that may not be listed. */
  readonly parent: number
  /** 'major:minor' */
  readonly device: string
  /** The directory of the filesystem that is its root: '/' unless a part of it is mounted. */
  readonly root: string
  readonly mountPoint: string
  /** Of this mount: 'rw', 'nosuid', … */
  readonly options: readonly string[]
  /** 'shared:N', 'master:N', 'propagate_from:N', 'unbindable'; none when it is private. */
  readonly propagation: readonly string[]
  /** 'ext4', 'fuse.sshfs', … */
  readonly type: string
  readonly source: string
  /** Of the filesystem. */
  readonly superOptions: readonly string[]
}

/** What the kernel has escaped: space, tab, newline, backslash, and at places '#' or ','. */
export function unescapeOctal(text: string): string {
  return text.replace(/\\([0-3][0-7]{2})/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 8)))
}

/** Commas that belong to a value are escaped: split first. */
function optionList(field: string): string[] {
  return field.split(',').filter(Boolean).map(unescapeOctal)
}

function parseLine(line: string): Mount | undefined {
  // Fields are separated by one space each; the source may be empty.
  const fields = line.split(' ')
  const end = fields.indexOf('-', 6)
  const [id, parent, device, root, mountPoint, options] = fields
  const [type, source, superOptions] = fields.slice(end + 1)
  if (end < 0 || type === undefined || !device || root === undefined || mountPoint === undefined)
    return undefined
  return {
    id: Number(id),
    parent: Number(parent),
    device,
    root: unescapeOctal(root),
    mountPoint: unescapeOctal(mountPoint),
    options: optionList(options ?? ''),
    propagation: fields.slice(6, end),
    type: unescapeOctal(type),
    source: unescapeOctal(source ?? ''),
    superOptions: optionList(superOptions ?? ''),
  }
}

/** The mounts in the text of a `/proc/PID/mountinfo`. See `man 5 proc`. */
export function parseMountinfo(text: string): Mount[] {
  return text.split('\n').flatMap((line) => parseLine(line) ?? [])
}

/** fs.mount-max is 100,000, and each may have a path of 4 KiB: more than that is meant to harm us. */
const MOST = 32 << 20
/** Lines that are parsed in one turn of the event loop: some milliseconds. */
const SLICE = 2000

/** Of whichever process, which errors name: EFBIG when it is absurdly long. */
export async function mountinfoAt(path: string, process: number | 'self'): Promise<Mount[]> {
  const bytes = await readAtMostLater(path, MOST)
  if (bytes === undefined)
    throw failure(
      'EFBIG',
      'read',
      `/proc/${String(process)}/mountinfo`,
      'its list of mounts is longer than 32 MiB: nobody needs so many',
    )
  const lines = bytes.toString('utf8').split('\n')
  const mounts: Mount[] = []
  for (let at = 0; at < lines.length; at += SLICE) {
    if (at > 0) await setImmediate()
    for (const line of lines.slice(at, at + SLICE)) {
      const mount = parseLine(line)
      if (mount) mounts.push(mount)
    }
  }
  return mounts
}

/**
 * `/proc/PID/mountinfo`: the mounts that a process sees, in the order of the kernel.
 *
 * Acts on: nothing. Needs no privilege for one's own processes; for those of others CAP_SYS_PTRACE.
 *
 * | errno  | when |
 * |--------|------|
 * | EACCES | the process is another user's |
 * | EFBIG  | the list is longer than 32 MiB |
 * | ENOENT | there is no such process |
 *
 * Since Linux 2.6.26. See `man 5 proc`.
 */
export async function readMountinfo(pid: number | 'self' = 'self'): Promise<Mount[]> {
  try {
    return await mountinfoAt(`/proc/${String(pid)}/mountinfo`, pid)
  } catch (error) {
    throw kernelError(error)
  }
}
