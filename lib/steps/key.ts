// keyctl(2)
import { Step } from '../step.ts'
import { optionalText } from './arguments.ts'
import { call, quote } from './strace.ts'

/** KEY_MAX_DESC_SIZE, with its NUL */
const NAME_MOST = 4095

/**
 * `keyctl(KEYCTL_JOIN_SESSION_KEYRING, name)`: a session keyring of one's own, so that keys of the caller's
 * session are out of reach; with a name the one of that name, where this user may search it, else a new one.
 * Its SELinux context is what `setkeycreatecon` said. Since Linux 2.6.11.
 *
 * Acts on: the child; in `fancyproc/thread` one thread. Needs no privilege.
 *
 * | errno  | when |
 * |--------|------|
 * | EACCES | that keyring is not for this user; or SELinux policy forbids a new one |
 * | EDQUOT | the user's quota of keys, /proc/sys/kernel/keys/maxkeys, is used up |
 * | ENOSYS | this kernel has no keys |
 *
 * See `man 2 keyctl`, `man 3 keyctl_join_session_keyring`, `man 7 session-keyring`.
 */
export function joinSessionKeyring(name: string | null = null): Step {
  const description = optionalText(name, 'joinSessionKeyring: name', { most: NAME_MOST })
  return new Step('join_session_keyring', [description], {
    calls: () => [call('keyctl', 'KEYCTL_JOIN_SESSION_KEYRING', quote(description))],
    path: description ?? undefined,
    hints: { EDQUOT: "the user's quota of keys is used up: /proc/key-users shows it" },
  })
}
