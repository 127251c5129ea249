// Threaded cgroups: the threads of a process spread over a subtree, whose top is a 'domain threaded'.
import { dirname } from 'node:path'
import { threadable } from './controllers.ts'
import { children, domainOf, isPopulated, peek, populated, realPath, typeOf } from './facts.ts'
import { codeOf, kernelError, writeFile } from './files.ts'

export async function makeThreaded(path: string): Promise<void> {
  try {
    await writeFile(path, 'cgroup.type', 'threaded')
  } catch (error) {
    if (codeOf(error) !== 'EOPNOTSUPP') throw error
    throw kernelError((error as Error).cause, {
      path: `${path}/cgroup.type`,
      hint: await whyNotThreaded(realPath(path)),
    })
  }
}

/** The kernel's rules, in its order. */
async function whyNotThreaded(path: string): Promise<string | undefined> {
  const [busy] = await populated(path)
  if (busy !== undefined) return `processes are in ${busy}: a cgroup becomes threaded before it has any`
  const domain = await domainOf(dirname(path))
  for (const at of [path, domain]) {
    const enabled = (await peek(at, 'cgroup.subtree_control'))?.split(' ') ?? []
    const domainOnly = enabled.filter((name) => name !== '' && !threadable.includes(name))
    if (domainOnly.length > 0) {
      return `${at} has ${domainOnly.join(', ')} enabled for its children, which can not tell threads apart`
    }
  }
  if ((await typeOf(domain)) === 'domain invalid')
    return `${domain} is 'domain invalid': make that threaded first`
  for (const sibling of await children(domain)) {
    if ((await typeOf(sibling)) !== 'threaded' && (await isPopulated(sibling))) {
      return `${sibling} has processes, and would be no valid domain any more`
    }
  }
  return undefined
}
