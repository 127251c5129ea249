// A cgroup by its path.
import { promises as fs } from 'node:fs'
import { isAbsolute } from 'node:path'
import { invalid, show } from '../errors.ts'
import { Fd, openFd } from '../fd.ts'
import { Cgroup } from './cgroup.ts'
import { failure, isCgroup2, kernelError } from './files.ts'
import { openFlags } from './spawn.ts'

/** The descriptor that a `Cgroup` has. */
export function openDirectory(path: string): Fd {
  return new Fd(openFd(path, openFlags), `cgroup ${path}`)
}

/** The directory of a parent, which may be given by its path. */
export async function directoryOf(cgroup: unknown, argument: string): Promise<string> {
  if (cgroup instanceof Cgroup) return cgroup.directory()
  const opened = await openCgroup(cgroup, argument)
  opened.close()
  return opened.path
}

/** Opens a directory that must be one of cgroup2. */
export async function openCgroup(path: unknown, argument = 'path'): Promise<Cgroup> {
  if (typeof path !== 'string' || !isAbsolute(path) || path.includes('\0')) {
    throw invalid(argument, `expected the absolute path of a cgroup, got ${show(path)}`)
  }
  try {
    const real = await fs.realpath(path)
    if (!(await isCgroup2(real))) {
      const hint = 'not a directory of the v2 hierarchy (cgroups.mount() says where that is)'
      throw failure('EBADF', 'statfs', real, hint)
    }
    return new Cgroup(real, openDirectory(real), false)
  } catch (error) {
    throw kernelError(error, {}, { ENOENT: 'there is no such cgroup' })
  }
}
