// prctl(2), prlimit64(2), sigaction(2)
#include <linux/prctl.h>

#include "primitive.h"

FP_PRIMITIVE(prctl) {
  long result = sys5(__NR_prctl, a->value[0], a->value[1], a->value[2], a->value[3], a->value[4]);
  // The caller knows what he does.
  if (result >= 0 && a->value[0] == PR_SET_DUMPABLE) context->nondumpable = false;
  if (result < 0 || a->value[0] != PR_SET_PDEATHSIG) return result;
  context->pdeathsig_is_callers = a->value[1] != 0;
  // None is what there is at the end, anyway; the rest of the setup still ends with the parent.
  return context->pdeathsig_is_callers || context->control < 0 ? result : fp_arm_pdeathsig(context);
}

FP_PRIMITIVE(prlimit64) {
  FP_UNUSED(context);
  uint64_t limit[2] = {(uint64_t)a->value[1], (uint64_t)a->value[2]};
  return sys4(__NR_prlimit64, 0, a->value[0], limit, NULL);
}

FP_PRIMITIVE(rt_sigaction) {
  FP_UNUSED(context);
  // The kernel's struct: handler, flags, restorer (x86-64 only; the same length is harmless), mask.
  uint64_t action[4] = {(uint64_t)a->value[1], 0, 0, 0};
  return sys4(__NR_rt_sigaction, a->value[0], action, NULL, sizeof(uint64_t));
}
