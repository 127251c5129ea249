// clone3(2) in the middle of a plan: the new process goes on with the next step, and is the parent's own child.
#include <linux/sched.h>

#include "primitive.h"

FP_PRIMITIVE(clone) {
  struct fp_status* status = context->status;
  struct clone_args args = {
      .flags = (uint64_t)a->value[0] | CLONE_PARENT | CLONE_PARENT_SETTID,
      .parent_tid = (uint64_t)(uintptr_t)&status->cloned,
  };
  status->clones++;
  long pid = sys2(__NR_clone3, &args, sizeof args);
  if (pid < 0) {
    status->clones--;
    return pid;
  }
  if (pid > 0)
    for (;;) sys1(__NR_exit_group, 0);

  // It tells of itself, before anything else that it sends and whatever has become of its maker.
  status->call = 1;
  long self = sys2(__NR_pidfd_open, sys0(__NR_getpid), 0);
  if (self < 0) return self;
  long sent = fp_send(context->control, FP_MESSAGE_CLONED, 0, (int)self);
  sys1(__NR_close, self);
  if (sent < 0) return sent;
  // A new task has no parent-death signal, whatever its maker's was.
  return context->pdeathsig_is_callers ? 0 : fp_arm_pdeathsig(context);
}
