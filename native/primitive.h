// What a primitive sees. Each is written once and runs as a step in the helper or on a thread of the caller.
#ifndef FANCYPROC_PRIMITIVE_H
#define FANCYPROC_PRIMITIVE_H

#include <linux/errno.h>
#include <stdbool.h>

#include "plan.h"
#include "syscall.h"

#ifdef __cplusplus
extern "C" {
#endif

struct fp_context {
  char* base;  // of the mapping; offsets in cells count from here
  int32_t* given;
  uint32_t given_count;
  uint32_t slot_count;
  int32_t slots[FP_MAX_SLOTS];  // -1: empty
  int32_t control;              // -1 outside a spawn
  int32_t proc;                 // O_PATH fd of /proc from before the first step, or -1
  int32_t floor;
  bool pdeathsig_is_callers;  // a step has set it: the helper leaves it alone
  bool nondumpable;           // whoever lives where it goes must not look at it
  struct fp_status* status;
};

// Arguments with pointers and fds resolved; length is that of bytes and words.
struct fp_arguments {
  long value[FP_MAX_ARGS];
  uint32_t length[FP_MAX_ARGS];
};

// Declares a primitive: returns its result, or -errno.
#define FP_PRIMITIVE(name) long op_##name(struct fp_context* context, const struct fp_arguments* a)
#define FP_UNUSED(x) ((void)(x))

// A primitive that is one system call with its arguments as they are.
#define FP_CALL(name, number)                                                                                \
  FP_PRIMITIVE(name) {                                                                                       \
    FP_UNUSED(context);                                                                                      \
    return sys6((number), a->value[0], a->value[1], a->value[2], a->value[3], a->value[4], a->value[5]);     \
  }

enum fp_op_flags {
  FP_YIELDS_FD = 1 << 0,
  FP_CLEARS_PDEATHSIG = 1 << 1,
  FP_JOINS = 1 << 2,
  FP_NEEDS_PROCFS = 1 << 3,
  FP_CHILD_ONLY = 1 << 4,
};

struct fp_operation {
  const char* name;
  const char* arguments;
  const char* scope;
  uint32_t flags;
  const char* kernel;
};

extern const struct fp_operation fp_operations[];
extern const uint32_t fp_operation_count;

#define OP(name, arguments, scope, flags, kernel) FP_PRIMITIVE(name);
#include "operations.def"
#undef OP

// Runs one step; the cells are the plan's.
long fp_run_step(struct fp_context* context, const struct fp_op* op);

// Sends a message, with an fd unless that is -1, to the parent.
long fp_send(int control, uint32_t type, int32_t argument, int fd);

// Stops until the parent answers; returns its -errno. Its death is ECANCELED.
long fp_hold(struct fp_context* context, int32_t argument);

// Arms SIGKILL for the parent's death, and makes sure that it had not died before.
long fp_arm_pdeathsig(struct fp_context* context);

// Moves whatever fd of ours is at this number elsewhere, so that a step may place another there.
long fp_vacate(struct fp_context* context, int number);

// Opens a file below the procfs of before the first step, writes all of it in one call, closes it.
long fp_write_proc(struct fp_context* context, const char* path, const void* bytes, size_t length);

#ifdef __cplusplus
}
#endif

#endif
