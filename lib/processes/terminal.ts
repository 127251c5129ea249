// Names of terminals, which procfs has only numbers of.
import { readlinkSync } from 'node:fs'
import { basename } from 'node:path'
import type { Terminal } from './info.ts'

/** Unix98 ptys: Documentation/admin-guide/devices.txt. */
const PTS_FIRST = 136
const PTS_LAST = 143

const names = new Map<number, string | undefined>()

/** Sysfs has the others under their numbers. */
function lookUp(major: number, minor: number): string | undefined {
  try {
    return basename(readlinkSync(`/sys/dev/char/${String(major)}:${String(minor)}`))
  } catch {
    return undefined
  }
}

/** From the number in /proc/PID/stat: the kernel's new_encode_dev(). */
export function terminal(device: number): Terminal | null {
  if (device === 0) return null
  const major = (device >> 8) & 0xfff
  const minor = (device & 0xff) | ((device >>> 12) & 0xfff00)
  if (major >= PTS_FIRST && major <= PTS_LAST)
    return { device, name: `pts/${String(((major - PTS_FIRST) << 8) | minor)}` }
  if (!names.has(device)) names.set(device, lookUp(major, minor))
  return { device, name: names.get(device) }
}
