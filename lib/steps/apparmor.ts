// AppArmor profiles: of the program that is to be, and of the process at once.
import { invalid, show } from '../errors.ts'
import type { Step } from '../step.ts'
import { text } from './arguments.ts'
import { ATTRIBUTE_MOST, setAttribute } from './lsm.ts'

const verbs = { aa_change_onexec: 'exec', aa_change_profile: 'changeprofile' } as const

function change(name: keyof typeof verbs, attribute: 'exec' | 'current', profile: string): Step {
  const verb = verbs[name]
  const argument = `${name}: profile`
  const label = text(profile, argument, { most: ATTRIBUTE_MOST - verb.length - 1 })
  // The kernel would cut it off.
  if (label.trim() !== label) throw invalid(argument, `begins or ends with white space: ${show(label)}`)
  return setAttribute(name, {
    module: 'apparmor',
    attribute,
    label,
    value: `${verb} ${label}`,
    hints: {
      ENOENT: 'no such profile is loaded; /sys/kernel/security/apparmor/profiles lists those that are',
      EACCES: 'the profile that confines this process has no change_profile rule for that one',
      EPERM: 'with no_new_privs a confined process may only change to a profile that allows less',
      EOPNOTSUPP: 'AppArmor is off',
    },
  })
}

/**
 * `int aa_change_onexec(const char *profile)`: the AppArmor profile that the program will have, whatever the
 * rules say of its path: 'name', ':namespace:name', a stack 'one//&two', or 'unconfined'. It is
 * lsm_set_self_attr(2) since Linux 6.8, and /proc/thread-self/attr/apparmor/exec, opened before the first
 * step, on older kernels. Usually the last step. Where AppArmor is off, spawn() fails before anything has
 * happened. Since Linux 5.8; the common attr/exec of older ones is not used.
 *
 * Acts on: the child; in `fancyproc/thread` one thread. Needs nothing if the process is unconfined, else a
 * change_profile rule. Descriptors that the profile does not allow are replaced by a dead one at execve. Clears
 * the parent-death signal, when the program starts.
 *
 * | errno      | when |
 * |------------|------|
 * | ENOENT     | no such profile is loaded |
 * | EACCES     | the present profile does not allow it; at execve: the new one forbids the file |
 * | EPERM      | no_new_privs, and the new profile would allow more |
 * | EOPNOTSUPP | AppArmor is off |
 *
 * See `man 2 aa_change_profile`, `man 2 lsm_set_self_attr`.
 */
export function aaChangeOnexec(profile: string): Step {
  return change('aa_change_onexec', 'exec', profile)
}

/**
 * `int aa_change_profile(const char *profile)`: another AppArmor profile, now: it confines later steps, too,
 * and must let the program be executed. By the same means as `aaChangeOnexec`. Since Linux 5.8.
 *
 * Acts on: the child; in `fancyproc/thread` one thread. Needs nothing if the process is unconfined, else a
 * change_profile rule.
 *
 * | errno      | when |
 * |------------|------|
 * | ENOENT     | no such profile is loaded |
 * | EACCES     | the present profile does not allow it; at execve: the new one forbids the file |
 * | EPERM      | no_new_privs, and the new profile would allow more |
 * | EOPNOTSUPP | AppArmor is off |
 *
 * See `man 2 aa_change_profile`, `man 2 lsm_set_self_attr`.
 */
export function aaChangeProfile(profile: string): Step {
  return change('aa_change_profile', 'current', profile)
}
