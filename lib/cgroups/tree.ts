// Directories of the hierarchy: upwards to its root, and down.
import { promises as fs } from 'node:fs'
import { dirname } from 'node:path'
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

/** Whether all could be removed: not while one is populated. */
export async function removeTree(path: string): Promise<boolean> {
  for (const directory of await subtree(path)) {
    try {
      await fs.rmdir(directory)
    } catch (error) {
      const code = codeOf(error)
      if (code === 'EBUSY') return false
      if (code === 'ENOENT') continue
      const hint = `this needs write permission on ${dirname(directory)}`
      throw kernelError(error, { path: directory }, { EACCES: hint, EPERM: hint })
    }
  }
  return true
}
