// Runs in a child that shares the parent's memory while the parent's thread waits: raw system calls on the child's
// own fd table and credentials, nothing that libc or a sanitizer keeps in memory.
#include "launch.h"

#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/prctl.h>
#include <linux/sched.h>

#include "syscall.h"

static __attribute__((noreturn)) void leave(struct fp_launch* launch, long result) {
  launch->error = (int32_t)-result;
  for (;;) sys1(__NR_exit_group, 127);
}

// A new user namespace gives all capabilities, but its ids are not mapped yet, and the exec of an id that is not
// root keeps only what is ambient.
FP_INLINE long raise_ambient(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
  long result = sys2(__NR_capget, &header, data);
  if (result < 0) return result;
  for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) data[i].inheritable = data[i].permitted;
  result = sys2(__NR_capset, &header, data);
  if (result < 0) return result;
  for (int capability = 0; capability < 64; capability++) {
    if (!(data[capability / 32].permitted & (1u << (capability % 32)))) continue;
    result = sys5(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0);
    if (result < 0) return result;
  }
  return 0;
}

__attribute__((no_stack_protector, no_sanitize("address"), no_sanitize("undefined"))) int
fp_launch_child(void* argument) {
  struct fp_launch* launch = argument;
  char* const none[] = {NULL};
  if (launch->is_batch) {
    const int priority = 0;  // all of struct sched_param
    long other = sys3(__NR_sched_setscheduler, 0, SCHED_NORMAL, &priority);
    if (other < 0) leave(launch, other);
  }
  if (launch->new_user) {
    long raised = raise_ambient();
    if (raised < 0) leave(launch, raised);
  }
  // Shared until here: a child that is frozen at its first instruction holds nobody's pipe open. From here to execve it
  // does, so whatever else there is to do has been done.
  long unshared = sys1(__NR_unshare, CLONE_FILES);
  if (unshared < 0) leave(launch, unshared);
  for (uint32_t i = 0; i < launch->keep_count; i++) {
    long cleared = sys3(__NR_fcntl, launch->keep[i], F_SETFD, 0);
    if (cleared < 0) leave(launch, cleared);
  }
  leave(launch, launch->path == NULL
                    ? sys5(__NR_execveat, launch->helper, "", launch->argv, none, AT_EMPTY_PATH)
                    : sys3(__NR_execve, launch->path, launch->argv, none));
}
