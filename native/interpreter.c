// Reads a step's cells, runs its primitive, keeps its result.
#include <linux/fcntl.h>
#include <linux/poll.h>
#include <linux/prctl.h>
#include <linux/signal.h>
#include <linux/socket.h>
#include <linux/uio.h>

#include "primitive.h"

#define OP(name, arguments, scope, flags, kernel) {#name, arguments, #scope, flags, kernel},
const struct fp_operation fp_operations[] = {
#include "operations.def"
};
#undef OP
const uint32_t fp_operation_count = sizeof fp_operations / sizeof *fp_operations;

// A switch rather than an array of pointers: the helper needs no relocations and the compiler may inline.
static long call(uint16_t code, struct fp_context* context, const struct fp_arguments* a) {
  enum {
#define OP(name, arguments, scope, flags, kernel) CODE_##name,
#include "operations.def"
#undef OP
  };
  switch (code) {
#define OP(name, arguments, scope, flags, kernel)                                                            \
  case CODE_##name:                                                                                          \
    return op_##name(context, a);
#include "operations.def"
#undef OP
  }
  return -ENOSYS;
}

static long resolve(struct fp_context* context, const struct fp_cell* cell) {
  switch (cell->kind) {
    case FP_BYTES:
    case FP_WORDS:
    case FP_RESULT:
      return (long)(context->base + cell->value);
    case FP_SLOT:
      return cell->value < context->slot_count ? context->slots[cell->value] : -EBADF;
    case FP_GIVEN:
      return cell->value < context->given_count ? context->given[cell->value] : -EBADF;
    case FP_PROC:
      return context->proc;
    default:
      return (long)cell->value;
  }
}

long fp_run_step(struct fp_context* context, const struct fp_op* op) {
  struct fp_arguments arguments = {{0}, {0}};
  if (op->code >= fp_operation_count || op->count > FP_MAX_ARGS) return -ENOSYS;
  for (uint16_t i = 0; i < op->count; i++) {
    arguments.value[i] = resolve(context, &op->cells[i]);
    arguments.length[i] = op->cells[i].length;
  }
  long result = call(op->code, context, &arguments);
  if (result < 0) {
    for (int i = 0; i < FP_MAX_IGNORED; i++)
      if (op->ignored[i] == -result) return 0;
    return result;
  }
  if (op->slot >= 0 && (uint32_t)op->slot < context->slot_count) context->slots[op->slot] = (int32_t)result;
  if (!(fp_operations[op->code].flags & FP_CLEARS_PDEATHSIG) || context->control < 0) return result;
  // Changed credentials set it to fs.suid_dumpable.
  if (context->nondumpable) {
    long hidden = sys2(__NR_prctl, PR_SET_DUMPABLE, 0);
    if (hidden < 0) return hidden;
  }
  if (!context->pdeathsig_is_callers) {
    long armed = fp_arm_pdeathsig(context);
    if (armed < 0) return armed;
  }
  return result;
}

// <linux/socket.h> has no msghdr of the kernel's: this is it, for 64 bits.
struct message_header {
  void* name;
  int32_t name_length;
  struct iovec* parts;
  size_t part_count;
  void* control;
  size_t control_length;
  uint32_t flags;
};

struct rights {
  size_t length;
  int level;
  int type;
  int fd;
  int padding;
};

enum { SOL_SOCKET_ = 1, SCM_RIGHTS_ = 1, MSG_NOSIGNAL_ = 0x4000 };

long fp_send(int control, uint32_t type, int32_t argument, int fd) {
  struct fp_message message = {type, argument};
  struct iovec part = {&message, sizeof message};
  struct rights rights = {offsetof(struct rights, padding), SOL_SOCKET_, SCM_RIGHTS_, fd, 0};
  struct message_header header = {NULL, 0, &part, 1, NULL, 0, 0};
  if (fd >= 0) {
    header.control = &rights;
    header.control_length = sizeof rights;
  }
  long sent = sys3(__NR_sendmsg, control, &header, MSG_NOSIGNAL_);
  return sent < 0 ? sent : 0;
}

long fp_hold(struct fp_context* context, int32_t argument) {
  struct fp_message message;
  long sent = fp_send(context->control, FP_MESSAGE_HELD, argument, -1);
  if (sent < 0) return sent;
  long got = sys3(__NR_read, context->control, &message, sizeof message);
  if (got != sizeof message || message.type != FP_MESSAGE_RESUME) return -ECANCELED;
  return -message.argument;
}

long fp_arm_pdeathsig(struct fp_context* context) {
  long armed = sys2(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL);
  if (armed < 0) return armed;
  // getppid() says nothing across pid namespaces; the socket's other end says all.
  struct pollfd parent = {context->control, 0, 0};
  struct {
    int64_t seconds, nanoseconds;
  } now = {0, 0};
  sys5(__NR_ppoll, &parent, 1, &now, NULL, 0);
  return parent.revents & POLLHUP ? -ECANCELED : 0;
}
