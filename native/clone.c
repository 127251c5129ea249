// clone3(2) in the middle of a plan: the new process goes on with the next step, and is the parent's own child.
#include <linux/sched.h>

#include "primitive.h"

FP_PRIMITIVE(clone) {
  int pidfd = -1;
  struct fp_status* status = context->status;
  struct clone_args args = {
      .flags = (uint64_t)a->value[0] | CLONE_PARENT | CLONE_PIDFD | CLONE_PARENT_SETTID,
      .pidfd = (uint64_t)(uintptr_t)&pidfd,
      .parent_tid = (uint64_t)(uintptr_t)&status->cloned,
  };
  status->clones++;
  long pid = sys2(__NR_clone3, &args, sizeof args);
  if (pid < 0) {
    status->clones--;
    return pid;
  }
  // A new task has no parent-death signal, whatever its maker's was.
  if (pid == 0) return context->pdeathsig_is_callers ? 0 : fp_arm_pdeathsig(context);

  fp_send(context->control, FP_MESSAGE_CLONED, 0, pidfd);
  sys1(__NR_exit_group, 0);
  __builtin_unreachable();
}
