// SELinux attributes of the process that is to be.
import { release } from 'node:os'
import { Step } from '../step.ts'
import { text } from './arguments.ts'
import { call, quote } from './strace.ts'

const CONTEXT_MAX = 4095

/** lsm_set_self_attr(2) needs no /proc; the native side uses it where there is one. */
function hasSystemCall(): boolean {
  const [major = 0, minor = 0] = release().split('.').map(Number)
  return major > 6 || (major === 6 && minor >= 8)
}

/**
 * `int setexeccon(const char *context)`: the SELinux context that the program will have; null undoes an
 * earlier one. It is lsm_set_self_attr(2) since Linux 6.8, and /proc/thread-self/attr/exec, opened before the
 * first step, on older kernels. Usually the last step. It never pretends: where SELinux is off, spawn() fails
 * before anything has happened. Since Linux 2.6.0.
 *
 * Acts on: the child; in `fancyproc/thread` one thread. Needs no capability, but policy has to allow the
 * transition (process:setexec, process:transition, file:entrypoint), and to allow the new domain its stdio:
 * the kernel replaces what it may not use by /dev/null, silently. With no_new_privs, or from a nosuid mount,
 * policy must also allow nnp_transition or nosuid_transition. Clears the parent-death signal, when the
 * program starts.
 *
 * | errno      | when |
 * |------------|------|
 * | EINVAL     | policy knows no such context |
 * | EACCES     | policy forbids it; at execve: the program's file is no entrypoint of that domain |
 * | EOPNOTSUPP | SELinux is off |
 *
 * See `man 3 setexeccon`, `man 2 lsm_set_self_attr`.
 */
export function setexeccon(context: string | null): Step {
  const label = context === null ? '' : text(context, 'setexeccon: context', { most: CONTEXT_MAX })
  const length = Buffer.byteLength(label)
  const attribute = `{id=LSM_ID_SELINUX, flags=0, ctx=${quote(label)}}`
  // An empty write is no write: a newline clears.
  const written = label === '' ? '\n' : label
  return new Step('setexeccon', [label], {
    path: label === '' ? undefined : label,
    calls: () =>
      hasSystemCall()
        ? [call('lsm_set_self_attr', 'LSM_ATTR_EXEC', attribute, String((32 + length + 7) & ~7), '0')]
        : [
            call('openat', '<proc>', '"thread-self/attr/exec"', 'O_WRONLY|O_CLOEXEC'),
            call('write', '<openat>', quote(written), String(Buffer.byteLength(written))),
            call('close', '<openat>'),
          ],
    hints: {
      EINVAL: 'the loaded policy knows no such context (user:role:type:level)',
      EACCES: 'the policy does not let this domain set an exec context (process:setexec)',
      EOPNOTSUPP: 'SELinux is off',
    },
  })
}
