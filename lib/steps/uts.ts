// sethostname(2), setdomainname(2)
import { Step } from '../step.ts'
import { text } from './arguments.ts'
import { call, quote } from './strace.ts'

const NAME_MOST = 64

function setName(syscall: 'sethostname' | 'setdomainname', name: unknown): Step {
  const value = text(name, `${syscall}: name`, { empty: true, most: NAME_MOST })
  return new Step(syscall, [value], {
    calls: () => [call(syscall, quote(value), String(Buffer.byteLength(value)))],
    path: value,
    hints: {
      EPERM:
        "this needs CAP_SYS_ADMIN in the user namespace that owns the uts namespace: make a 'uts' namespace, too",
    },
  })
}

/**
 * `int sethostname(const char *name, size_t len)`: the host's name, up to 64 bytes. Since Linux 1.0.
 *
 * Acts on: the child's uts namespace, which is the host's unless it was given one. Needs CAP_SYS_ADMIN there.
 *
 * | errno | when |
 * |-------|------|
 * | EPERM | no CAP_SYS_ADMIN in the owner of the uts namespace |
 *
 * See `man 2 sethostname`.
 */
export function sethostname(name: string): Step {
  return setName('sethostname', name)
}

/**
 * `int setdomainname(const char *name, size_t len)`: the NIS domain's name, up to 64 bytes. It is not that of
 * DNS. Since Linux 1.0.
 *
 * Acts on: the child's uts namespace, which is the host's unless it was given one. Needs CAP_SYS_ADMIN there.
 *
 * | errno | when |
 * |-------|------|
 * | EPERM | no CAP_SYS_ADMIN in the owner of the uts namespace |
 *
 * See `man 2 setdomainname`.
 */
export function setdomainname(name: string): Step {
  return setName('setdomainname', name)
}
