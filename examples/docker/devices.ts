// The devices that docker lets a container use, as rules for its cgroup. Without them, who is root in it could open the
// host's disks, once he had made their nodes.
import { type Cgroup, KernelError } from 'fancyproc'

/** Any node may be made; these alone may be opened. */
export const dockerDevices: readonly string[] = [
  'c *:* m',
  'b *:* m',
  'c 1:3 rwm', // null
  'c 1:5 rwm', // zero
  'c 1:7 rwm', // full
  'c 1:8 rwm', // random
  'c 1:9 rwm', // urandom
  'c 5:0 rwm', // tty
  'c 5:1 rwm', // console
  'c 5:2 rwm', // ptmx
  'c 136:* rwm', // pts/0 and on
]

/** eBPF is for root alone: an ordinary user makes no nodes of devices either, not in a user namespace of his own. */
export async function limitDevices(cgroup: Cgroup, notes: string[]): Promise<void> {
  try {
    await cgroup.setDevices(dockerDevices)
  } catch (error) {
    if (!(error instanceof KernelError)) throw error
    notes.push(`all devices: ${error.message}`)
  }
}
