// File descriptors of the child: closed, placed, sent back.
#include <linux/fcntl.h>

#include "primitive.h"

static int32_t* ours_at(struct fp_context* context, int number) {
  if (context->control == number) return &context->control;
  if (context->proc == number) return &context->proc;
  for (uint32_t i = 0; i < context->slot_count; i++)
    if (context->slots[i] == number) return &context->slots[i];
  for (uint32_t i = 0; i < context->given_count; i++)
    if (context->given[i] == number) return &context->given[i];
  return NULL;
}

// The lowest fd of ours in [first, last], or -1.
static int next_of_ours(struct fp_context* context, uint32_t first, uint32_t last) {
  int64_t lowest = (int64_t)last + 1;
#define CONSIDER(fd)                                                                                         \
  if ((fd) >= 0 && (uint32_t)(fd) >= first && (fd) < lowest) lowest = (fd)
  CONSIDER(context->control);
  CONSIDER(context->proc);
  for (uint32_t i = 0; i < context->slot_count; i++) CONSIDER(context->slots[i]);
  for (uint32_t i = 0; i < context->given_count; i++) CONSIDER(context->given[i]);
#undef CONSIDER
  return lowest > last ? -1 : (int)lowest;
}

long fp_vacate(struct fp_context* context, int number) {
  for (int32_t* fd; (fd = ours_at(context, number)) != NULL;) {
    long moved =
        sys3(__NR_fcntl, number, F_DUPFD_CLOEXEC, number >= context->floor ? number + 1 : context->floor);
    if (moved < 0) return moved;
    *fd = (int32_t)moved;
  }
  return 0;
}

// Numbers that the caller cannot have meant; without the socket, the parent would take us for dead.
static bool is_hidden(struct fp_context* context, long fd) {
  return fd >= 0 && (fd == context->control || fd == context->proc);
}

FP_PRIMITIVE(close) {
  if (is_hidden(context, a->value[0])) return -EBADF;
  int32_t* ours = ours_at(context, (int)a->value[0]);
  long result = sys1(__NR_close, a->value[0]);
  if (result == 0 && ours != NULL) *ours = -1;
  return result;
}

// Skips what later steps and the way to the parent need: those are CLOEXEC, so the program never sees them.
FP_PRIMITIVE(close_range) {
  uint32_t first = (uint32_t)a->value[0], last = (uint32_t)a->value[1];
  while (first <= last) {
    int kept = next_of_ours(context, first, last);
    uint32_t end = kept < 0 ? last : (uint32_t)kept - 1;
    if (kept < 0 || (uint32_t)kept > first) {
      long result = sys3(__NR_close_range, first, end, a->value[2]);
      if (result < 0) return result;
    }
    if (kept < 0) break;
    first = (uint32_t)kept + 1;
  }
  return 0;
}

FP_PRIMITIVE(dup3) {
  long source = a->value[0], target = a->value[1];
  if (is_hidden(context, source)) return -EBADF;
  if (source == target) {
    long flags = sys3(__NR_fcntl, source, F_SETFD, a->value[2] & O_CLOEXEC ? FD_CLOEXEC : 0);
    return flags < 0 ? flags : target;
  }
  long vacated = fp_vacate(context, (int)target);
  return vacated < 0 ? vacated : sys3(__NR_dup3, source, target, a->value[2]);
}

FP_PRIMITIVE(send_fd) {
  if (is_hidden(context, a->value[0])) return -EBADF;
  return fp_send(context->control, FP_MESSAGE_FD, (int32_t)a->value[1], (int)a->value[0]);
}
