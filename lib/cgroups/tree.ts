// Directories of the hierarchy: upwards to its root, and down.
import { promises as fs } from 'node:fs'
import { dirname } from 'node:path'
import { errnoNumber, KernelError } from '../errors.ts'
import { readMountinfo } from '../mountinfo.ts'
import { codeOf, exists, kernelError } from './files.ts'

/** A cgroup and those above it, up to the root of the mount. */
export async function upwards(path: string): Promise<string[]> {
  const chain: string[] = []
  for (let at = path; await exists(`${at}/cgroup.controllers`); at = dirname(at)) chain.push(at)
  return chain
}

/** A cgroup and all below it, deepest first. */
export async function subtree(path: string): Promise<string[]> {
  const paths: string[] = []
  // One that vanishes meanwhile has nothing below it.
  for (const entry of await fs.readdir(path, { withFileTypes: true }).catch(() => [])) {
    if (entry.isDirectory()) paths.push(...(await subtree(`${path}/${entry.name}`)))
  }
  return [...paths, path]
}

/** Removes it and all below it; gives the directory that the kernel finds busy, if one is. */
export async function removeTree(path: string): Promise<string | undefined> {
  if (await removeOne(path)) return undefined
  // What is mounted there is not ours: nothing in it may go.
  await assertNoMount(path)
  for (const directory of await subtree(path)) if (!(await removeOne(directory))) return directory
  return undefined
}

async function removeOne(directory: string): Promise<boolean> {
  try {
    await fs.rmdir(directory)
  } catch (error) {
    const code = codeOf(error)
    if (code === 'EBUSY') return false
    if (code !== 'ENOENT') {
      const hint = `this needs write permission on ${dirname(directory)}`
      throw kernelError(error, { path: directory }, { EACCES: hint, EPERM: hint })
    }
  }
  return true
}

/** Throws where the kernel would not let a directory go for a mount on it, or below it. */
export async function assertNoMount(path: string): Promise<void> {
  const mounts = (await readMountinfo()).map(({ mountPoint }) => mountPoint)
  const at = mounts.find((mountPoint) => mountPoint === path || mountPoint.startsWith(`${path}/`))
  if (at === undefined) return
  const hint = `something is mounted on ${at}: umount it first`
  throw new KernelError({ errno: errnoNumber('EBUSY') ?? 0, syscall: 'rmdir', path, hint })
}
