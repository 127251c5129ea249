// SELinux contexts: of the process that is to be, and of what it makes.
import type { ContextLike } from '../selinux/context.ts'
import type { Step } from '../step.ts'
import { contextText } from './context.ts'
import { ATTRIBUTE_MOST, setAttribute } from './lsm.ts'

const attributes = {
  setexeccon: 'exec',
  setfscreatecon: 'fscreate',
  setkeycreatecon: 'keycreate',
  setsockcreatecon: 'sockcreate',
  setcon: 'current',
} as const

function set(name: keyof typeof attributes, context: ContextLike | null, permission: string): Step {
  const label = context === null ? '' : contextText(context, `${name}: context`, ATTRIBUTE_MOST)
  return setAttribute(name, {
    module: 'selinux',
    attribute: attributes[name],
    label,
    hints: {
      EINVAL: 'the loaded policy knows no such context (user:role:type:level)',
      EACCES: `the policy does not let this domain do that (${permission})`,
      EPERM:
        'a process with several threads may only change to a type that policy bounds by its own (typebounds)',
      EOPNOTSUPP: 'SELinux is off',
    },
  })
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
export function setexeccon(context: ContextLike | null): Step {
  return set('setexeccon', context, 'process:setexec')
}

/**
 * `int setfscreatecon(const char *context)`: the SELinux context of files, directories and the like that later
 * steps make; null undoes it, and so does execve. Without it they get what policy says of process and
 * directory. Has no effect on a filesystem mounted with `context`, or without labels. By the same means as
 * `setexeccon`. Since Linux 2.6.0.
 *
 * Acts on: the child; in `fancyproc/thread` one thread. Needs no capability, but policy has to allow
 * process:setfscreate, and for each file that is made file:create of that context and filesystem:associate.
 *
 * | errno      | when |
 * |------------|------|
 * | EINVAL     | policy knows no such context |
 * | EACCES     | policy forbids it; of a later step: policy forbids a file of that context, there |
 * | EOPNOTSUPP | SELinux is off |
 *
 * See `man 3 setfscreatecon`, `man 2 lsm_set_self_attr`.
 */
export function setfscreatecon(context: ContextLike | null): Step {
  return set('setfscreatecon', context, 'process:setfscreate')
}

/**
 * `int setkeycreatecon(const char *context)`: the SELinux context of keys and keyrings that are made from here
 * on; null undoes it, and so does execve. By the same means as `setexeccon`. Since Linux 2.6.18.
 *
 * Acts on: the child; in `fancyproc/thread` one thread. Needs no capability, but policy has to allow
 * process:setkeycreate, and key:create of that context, at once.
 *
 * | errno      | when |
 * |------------|------|
 * | EINVAL     | policy knows no such context |
 * | EACCES     | policy forbids it |
 * | EOPNOTSUPP | SELinux is off |
 *
 * See `man 3 setkeycreatecon`, `man 2 lsm_set_self_attr`.
 */
export function setkeycreatecon(context: ContextLike | null): Step {
  return set('setkeycreatecon', context, 'process:setkeycreate, key:create')
}

/**
 * `int setsockcreatecon(const char *context)`: the SELinux context of sockets that are made from here on; null
 * undoes it, and so does execve. By the same means as `setexeccon`. Since Linux 2.6.18.
 *
 * Acts on: the child; in `fancyproc/thread` one thread. Needs no capability, but policy has to allow
 * process:setsockcreate, and the creation of each socket.
 *
 * | errno      | when |
 * |------------|------|
 * | EINVAL     | policy knows no such context |
 * | EACCES     | policy forbids it |
 * | EOPNOTSUPP | SELinux is off |
 *
 * See `man 3 setsockcreatecon`, `man 2 lsm_set_self_attr`.
 */
export function setsockcreatecon(context: ContextLike | null): Step {
  return set('setsockcreatecon', context, 'process:setsockcreate')
}

/**
 * `int setcon(const char *context)`: another SELinux context, now and without execve: later steps are checked
 * against it, and the program has it unless policy knows a transition. It needs no entrypoint, closes no
 * descriptor (those that the new domain may not use fail when used) and leaves the parent-death signal.
 * Policies rarely allow it: `setexeccon` is what they are made for. By the same means. Since Linux 2.6.13.
 *
 * Acts on: the child; in `fancyproc/thread` one thread. Needs no capability, but policy has to allow
 * process:setcurrent, process:dyntransition.
 *
 * | errno      | when |
 * |------------|------|
 * | EINVAL     | policy knows no such context |
 * | EACCES     | policy forbids it |
 * | EPERM      | the process has several threads, and policy does not bound the new type by the old one |
 * | EOPNOTSUPP | SELinux is off |
 *
 * See `man 3 setcon`, `man 2 lsm_set_self_attr`.
 */
export function setcon(context: ContextLike): Step {
  return set(
    'setcon',
    contextText(context, 'setcon: context', ATTRIBUTE_MOST),
    'process:setcurrent, process:dyntransition',
  )
}
