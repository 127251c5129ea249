// Labels of files: the extended attribute security.selinux.
import { errnoName, invalid, KernelError, show } from '../errors.ts'
import { type FdLike, fdNumber, isFdLike } from '../fd.ts'
import { native } from '../native.ts'
import { path as checkPath } from '../steps/arguments.ts'
import { type ContextLike, contextText } from './context.ts'
import { enabled } from './enabled.ts'

const ATTRIBUTE = 'security.selinux'

/** What to say of an errno of setxattr(2); it depends on whether SELinux is on. */
export function setHint(errno: number): string | undefined {
  const hints: Readonly<Record<string, string>> = {
    EOPNOTSUPP: 'this filesystem keeps no labels, or is mounted with context=',
    EINVAL: 'the loaded policy knows no such context (user:role:type:level)',
    EACCES:
      'the policy forbids it (file:relabelfrom, file:relabelto, filesystem:associate), or a directory does',
    EPERM: enabled()
      ? 'this needs to own the file, or CAP_FOWNER'
      : 'where SELinux is off this needs CAP_SYS_ADMIN in the first user namespace',
  }
  return hints[errnoName(errno)]
}

const getHints: Readonly<Record<string, string>> = {
  ENODATA: 'it has no label: SELinux is off, and was when it was made',
  EOPNOTSUPP: 'this filesystem keeps no labels',
  EBADF: 'closed, or opened with O_PATH, which setxattr and getxattr do not take',
}

type Target = string | number

function fdTarget(call: string, fd: unknown): number {
  if (!isFdLike(fd)) throw invalid(`${call}: fd`, `expected a file descriptor, got ${show(fd)}`)
  return fdNumber(fd, `${call}: fd`)
}

const calls = { follow: '', link: 'l', fd: 'f' } as const

async function get(how: keyof typeof calls, target: Target): Promise<string> {
  const said = await native().getxattr(target, ATTRIBUTE, how === 'follow')
  if (typeof said !== 'number')
    return Buffer.from(said)
      .toString('utf8')
      .replace(/[\0\n]+$/, '')
  throw new KernelError({
    errno: -said,
    syscall: `${calls[how]}getxattr`,
    path: typeof target === 'string' ? target : undefined,
    hint: getHints[errnoName(-said)],
  })
}

async function set(how: keyof typeof calls, target: Target, label: string): Promise<void> {
  // With a NUL at its end, as libselinux writes it.
  const said = await native().setxattr(target, ATTRIBUTE, how === 'follow', Buffer.from(`${label}\0`), 0)
  if (said === 0) return
  throw new KernelError({
    errno: -said,
    syscall: `${calls[how]}setxattr`,
    path: typeof target === 'string' ? target : undefined,
    dest: label,
    hint: setHint(-said) ?? getHints[errnoName(-said)],
  })
}

/**
 * `int getfilecon(const char *path, char **con)`: the label of a file; of what a symbolic link leads to.
 * getxattr(2) of security.selinux; where SELinux is off it is what the filesystem keeps. Since Linux 2.6.
 *
 * Acts on: a file. Needs no privilege.
 *
 * | errno      | when |
 * |------------|------|
 * | ENODATA    | it has no label |
 * | EOPNOTSUPP | this filesystem keeps none |
 * | ENOENT     | there is no such file |
 * | EACCES     | a directory may not be searched, or policy forbids (file:getattr) |
 *
 * See `man 3 getfilecon`, `man 2 getxattr`.
 */
export async function getfilecon(path: string): Promise<string> {
  return get('follow', checkPath(path, 'getfilecon: path'))
}

/**
 * `int lgetfilecon(const char *path, char **con)`: the label of a file, of a symbolic link its own. Since Linux
 * 2.6.
 *
 * Acts on: a file. Needs no privilege.
 *
 * Errnos: those of `getfilecon`.
 *
 * See `man 3 lgetfilecon`, `man 2 getxattr`.
 */
export async function lgetfilecon(path: string): Promise<string> {
  return get('link', checkPath(path, 'lgetfilecon: path'))
}

/**
 * `int fgetfilecon(int fd, char **con)`: the label of an open file. Since Linux 2.6.
 *
 * Acts on: a file; the descriptor may be closed right after the call. Needs no privilege.
 *
 * Errnos: those of `getfilecon`, and EBADF for a descriptor that is closed, or open with O_PATH.
 *
 * See `man 3 fgetfilecon`, `man 2 getxattr`.
 */
export async function fgetfilecon(fd: FdLike): Promise<string> {
  return get('fd', fdTarget('fgetfilecon', fd))
}

/**
 * `int setfilecon(const char *path, const char *con)`: labels a file; what a symbolic link leads to. setxattr(2)
 * of security.selinux. Since Linux 2.6.
 *
 * Acts on: a file. Where SELinux is on, it needs to be the file's owner or CAP_FOWNER, and policy
 * (file:relabelfrom, file:relabelto, filesystem:associate), which has to know the context. Where it is off, it
 * needs CAP_SYS_ADMIN in the first user namespace, and takes anything: a root for another machine can be
 * prepared there.
 *
 * | errno      | when |
 * |------------|------|
 * | EINVAL     | the policy knows no such context |
 * | EACCES     | the policy forbids it, or a directory may not be searched |
 * | EPERM      | neither the owner nor CAP_FOWNER; where SELinux is off: no CAP_SYS_ADMIN |
 * | EOPNOTSUPP | this filesystem keeps no labels, or is mounted with context= |
 * | ENOENT     | there is no such file |
 * | EROFS      | it is mounted read-only |
 *
 * See `man 3 setfilecon`, `man 2 setxattr`.
 */
export async function setfilecon(path: string, context: ContextLike): Promise<void> {
  await set('follow', checkPath(path, 'setfilecon: path'), contextText(context, 'setfilecon: context'))
}

/**
 * `int lsetfilecon(const char *path, const char *con)`: labels a file, of a symbolic link itself. Since Linux 2.6.
 *
 * Acts on: a file. Needs what `setfilecon` does.
 *
 * Errnos: those of `setfilecon`.
 *
 * See `man 3 lsetfilecon`, `man 2 setxattr`.
 */
export async function lsetfilecon(path: string, context: ContextLike): Promise<void> {
  await set('link', checkPath(path, 'lsetfilecon: path'), contextText(context, 'lsetfilecon: context'))
}

/**
 * `int fsetfilecon(int fd, const char *con)`: labels an open file. Since Linux 2.6.
 *
 * Acts on: a file; the descriptor may be closed right after the call. Needs what `setfilecon` does.
 *
 * Errnos: those of `setfilecon`, and EBADF for a descriptor that is closed, or open with O_PATH.
 *
 * See `man 3 fsetfilecon`, `man 2 setxattr`.
 */
export async function fsetfilecon(fd: FdLike, context: ContextLike): Promise<void> {
  await set('fd', fdTarget('fsetfilecon', fd), contextText(context, 'fsetfilecon: context'))
}
