// Files of /proc whose length is up to another process, who may be hostile: never more than so much of them.
import { closeSync, openSync, promises as fs, readSync } from 'node:fs'

const CHUNK = 64 << 10

/** All of it, or undefined when it is longer. */
export function readAtMost(path: string, most: number): Buffer | undefined {
  const fd = openSync(path, 'r')
  try {
    const chunks: Buffer[] = []
    for (let length = 0; length <= most;) {
      const chunk = Buffer.allocUnsafe(CHUNK)
      const got = readSync(fd, chunk)
      if (got === 0) return Buffer.concat(chunks)
      chunks.push(chunk.subarray(0, got))
      length += got
    }
    return undefined
  } finally {
    closeSync(fd)
  }
}

/** The same, off the event loop's thread. */
export async function readAtMostLater(path: string, most: number): Promise<Buffer | undefined> {
  const handle = await fs.open(path, 'r')
  try {
    const chunks: Buffer[] = []
    for (let length = 0; length <= most;) {
      const chunk = Buffer.allocUnsafe(CHUNK)
      const { bytesRead } = await handle.read(chunk)
      if (bytesRead === 0) return Buffer.concat(chunks)
      // A copy: the kernel gives a page at a time of some.
      chunks.push(Buffer.from(chunk.subarray(0, bytesRead)))
      length += bytesRead
    }
    return undefined
  } finally {
    await handle.close()
  }
}
