// SELinux contexts as arguments, and as options of mount(2).
import { invalid, show } from '../errors.ts'
import { Context, type ContextLike } from '../selinux/context.ts'
import { text } from './arguments.ts'

/** A string is not taken apart: what is wrong with it is the kernel's to say. */
export function contextText(context: unknown, argument: string, most?: number): string {
  return text(context instanceof Context ? String(context) : context, argument, { most })
}

export interface MountContexts {
  /** The SELinux context of all its files, whatever they have on disk. */
  context?: ContextLike
  /** That of the filesystem itself, which policy asks for mounting, and for what may be made in it. */
  fscontext?: ContextLike
  /** That of its root directory. */
  rootcontext?: ContextLike
  /** That of files without one, where filesystems keep them; not together with `context`. */
  defcontext?: ContextLike
}

export const contexts = ['context', 'fscontext', 'rootcontext', 'defcontext'] as const

/** In quotes, as a level may have commas. `taken`: the kernel looks at the data of this mount. */
export function contextOptions(given: MountContexts, taken: boolean): string[] {
  if (given.context !== undefined && given.defcontext !== undefined)
    throw invalid('mount: defcontext', 'not together with context, which all files have')
  return contexts.flatMap((name) => {
    if (given[name] === undefined) return []
    const argument = `mount: ${name}`
    const context = contextText(given[name], argument)
    // The kernel drops all quotes.
    if (context.includes('"')) throw invalid(argument, `no context: ${show(context)}`)
    if (!taken) throw invalid(argument, 'with these flags the kernel ignores it: it is for a new filesystem')
    return [`${name}="${context}"`]
  })
}

export const contextHints = {
  EINVAL:
    'the loaded policy knows no such context, the filesystem is mounted elsewhere with another one, or another option is wrong',
  EACCES:
    'the policy does not let this domain relabel that filesystem (filesystem:relabelfrom, filesystem:relabelto); in a ' +
    'user namespace only tmpfs, ramfs, devpts and overlay take one',
}
