// The program that a child becomes between clone3 and execve: static, freestanding, a few KB.
// It has a memory of its own, so no step can touch the parent's; docs/design.md has the order of things.
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/fcntl.h>
#include <linux/magic.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/signal.h>

#include "primitive.h"

enum { TIOCSCTTY_ = 0x540E, PATH_LENGTH = 4096, SOFT_NOFILE = 1024 };

void* memset(void* target, int byte, size_t length) {
  for (char* p = target; length-- > 0;) *p++ = (char)byte;
  return target;
}

void* memcpy(void* target, const void* source, size_t length) {
  const char* s = source;
  for (char* p = target; length-- > 0;) *p++ = *s++;
  return target;
}

static uint32_t number(const char* text) {
  uint32_t value = 0;
  while (*text >= '0' && *text <= '9') value = value * 10 + (uint32_t)(*text++ - '0');
  return value;
}

static __attribute__((noreturn)) void fail(struct fp_status* status, long result) {
  status->error = (int32_t)-result;
  for (;;) sys1(__NR_exit_group, 127);
}

#define BEGIN(what) (status->step = FP_PROLOGUE_##what)
#define CHECK(expression)                                                                                    \
  do {                                                                                                       \
    long result_ = (expression);                                                                             \
    if (result_ < 0) fail(status, result_);                                                                  \
  } while (0)

static void close_what_was_not_given(struct fp_status* status, const int32_t* kept, uint32_t count) {
  BEGIN(CLOSE_RANGE);
  uint32_t first = 0;
  for (uint32_t i = 0; i <= count; i++) {
    uint32_t end = i < count ? (uint32_t)kept[i] - 1 : ~0u;
    if (i == count || (uint32_t)kept[i] > first) CHECK(sys3(__NR_close_range, first, end, 0));
    if (i < count) first = (uint32_t)kept[i] + 1;
  }
  // CLOSE_RANGE_CLOEXEC is of 5.11; each by itself before that.
  if (sys3(__NR_close_range, 0, ~0u, CLOSE_RANGE_CLOEXEC) == 0) return;
  for (uint32_t i = 0; i < count; i++) CHECK(sys3(__NR_fcntl, kept[i], F_SETFD, FD_CLOEXEC));
}

// Capabilities were made ambient only to outlive the exec of this helper.
static void drop_ambient(struct fp_status* status) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
  BEGIN(CAPSET);
  CHECK(sys5(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
  CHECK(sys2(__NR_capget, &header, data));
  data[0].inheritable = data[1].inheritable = 0;
  CHECK(sys2(__NR_capset, &header, data));
}

// Before the first step /proc is the caller's own, later it may be the sandbox's.
static void open_procfs(struct fp_context* context) {
  struct fp_status* status = context->status;
  struct {
    long type;
    long rest[15];
  } about;
  BEGIN(PROCFS);
  long low = sys4(__NR_openat, AT_FDCWD, "/proc", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  CHECK(low);
  CHECK(sys2(__NR_fstatfs, low, &about));
  if (about.type != PROC_SUPER_MAGIC) fail(status, -ENXIO);
  long fd = sys3(__NR_fcntl, low, F_DUPFD_CLOEXEC, context->floor);
  CHECK(fd);
  sys1(__NR_close, low);
  context->proc = (int32_t)fd;
}

static void make_session(struct fp_status* status, const struct fp_plan* plan) {
  if (!(plan->flags & FP_SETSID)) return;
  BEGIN(SETSID);
  CHECK(sys0(__NR_setsid));
}

static void take_terminal(struct fp_status* status, const struct fp_plan* plan) {
  if (!(plan->flags & FP_CTTY)) return;
  BEGIN(TIOCSCTTY);
  CHECK(sys3(__NR_ioctl, 0, TIOCSCTTY_, 0));
}

static void prologue(struct fp_context* context, const struct fp_plan* plan) {
  struct fp_status* status = context->status;
  status->phase = FP_PHASE_PROLOGUE;

  // The sorted list of all fds to keep follows the given ones.
  close_what_was_not_given(status, context->given + plan->given_count, plan->given_count + 1);

  BEGIN(PDEATHSIG);
  CHECK(fp_arm_pdeathsig(context));
  context->nondumpable = plan->flags & FP_NONDUMPABLE;
  if (context->nondumpable) CHECK(sys2(__NR_prctl, PR_SET_DUMPABLE, 0));
  if (plan->flags & FP_NEWUSER) drop_ambient(status);

  BEGIN(SIGNALS);
  uint64_t none[4] = {0};
  for (int signal = 1; signal <= 64; signal++)
    if (plan->signals_ign & (1ull << (signal - 1)))
      CHECK(sys4(__NR_rt_sigaction, signal, none, NULL, sizeof(uint64_t)));
  CHECK(sys4(__NR_rt_sigprocmask, SIG_SETMASK, none, NULL, sizeof(uint64_t)));

  if (plan->session == 0) make_session(status, plan);
  BEGIN(STDIO);
  const struct fp_stdio* stdio = (const struct fp_stdio*)(context->base + plan->stdio);
  for (uint32_t i = 0; i < plan->stdio_count; i++)
    CHECK(sys3(__NR_dup3, context->given[stdio[i].given], stdio[i].target, 0));
  if (plan->session == 0) take_terminal(status, plan);
  if (plan->flags & FP_PROCFS) open_procfs(context);

  BEGIN(NOFILE);
  uint64_t limit[2];
  CHECK(sys4(__NR_prlimit64, 0, RLIMIT_NOFILE, NULL, limit));
  limit[0] = limit[1] < SOFT_NOFILE ? limit[1] : SOFT_NOFILE;
  CHECK(sys4(__NR_prlimit64, 0, RLIMIT_NOFILE, limit, NULL));
}

static void steps(struct fp_context* context, const struct fp_plan* plan) {
  struct fp_status* status = context->status;
  const char* at = context->base + plan->ops;
  status->phase = FP_PHASE_STEPS;
  for (uint32_t i = 0; i < plan->op_count; i++) {
    const struct fp_op* op = (const struct fp_op*)at;
    status->step = op->index;
    status->call = 0;
    CHECK(fp_run_step(context, op));
    at += sizeof *op + op->count * sizeof(struct fp_cell);
    if (i + 1 != plan->session) continue;
    // The end of a session's leader hangs up its terminal, so it is the last process cloned that leads.
    status->phase = FP_PHASE_PROLOGUE;
    make_session(status, plan);
    take_terminal(status, plan);
    status->phase = FP_PHASE_STEPS;
  }
}

static char** relocate(char* base, uint32_t offset, uint32_t count) {
  uint64_t* strings = (uint64_t*)(base + offset);
  for (uint32_t i = 0; i < count; i++) strings[i] += (uint64_t)(uintptr_t)base;
  strings[count] = 0;
  return (char**)strings;
}

// The rules of execvp(3), without its shell. `refused` is what gave the result, unless that is ENOENT.
static long search(const char* path, const char* file, char** argv, char** envp, char* refused) {
  char candidate[PATH_LENGTH];
  long found = -ENOENT;
  for (;;) {
    size_t length = 0;
    for (; *path != '\0' && *path != ':'; path++)
      if (length < PATH_LENGTH) candidate[length++] = *path;
    if (length > 0 && length < PATH_LENGTH) candidate[length++] = '/';
    size_t i = 0;
    while (length < PATH_LENGTH && (candidate[length++] = file[i++]) != '\0') continue;
    // A candidate that was cut does not end in NUL, and is none.
    if (candidate[length - 1] == '\0') {
      long result = sys3(__NR_execve, candidate, argv, envp);
      const bool passed = result == -ENOENT || result == -ENOTDIR || result == -ENAMETOOLONG;
      if (!passed && found == -ENOENT) memcpy(refused, candidate, length);
      if (!passed && result != -EACCES) return result;
      if (!passed) found = result;
    }
    if (*path++ == '\0') return found;
  }
}

static __attribute__((noreturn)) void finish(struct fp_context* context) {
  context->status->phase = FP_PHASE_DONE;
  for (;;) sys1(__NR_exit_group, 0);
}

// SELinux judges a program by the label of its file, which nobody but us may see: our root may be the steps' own.
static __attribute__((noreturn)) void refuse(struct fp_context* context, const struct fp_plan* plan,
                                             long result, const char* file) {
  struct fp_status* status = context->status;
  // First, as nothing more may be said after it.
  status->error = (int32_t)-result;
  if (plan->flags & FP_LABELLED && (result == -EACCES || result == -EPERM)) {
    long length = sys4(__NR_getxattr, file, "security.selinux", context->base + FP_LABEL, FP_LABEL_LENGTH);
    if (length > 0) status->label = (uint32_t)length;
  }
  fail(status, result);
}

static __attribute__((noreturn)) void execute(struct fp_context* context, const struct fp_plan* plan) {
  if (!context->pdeathsig_is_callers) {
    long disarmed = sys2(__NR_prctl, PR_SET_PDEATHSIG, 0);
    if (disarmed < 0) fail(context->status, disarmed);
  }
  const char* file = context->base + plan->file;
  char** argv = relocate(context->base, plan->argv, plan->argc);
  char** envp = relocate(context->base, plan->envp, plan->envc);
  context->status->phase = FP_PHASE_EXECVE;
  if (plan->path == 0) refuse(context, plan, sys3(__NR_execve, file, argv, envp), file);
  char refused[PATH_LENGTH];
  long result = search(context->base + plan->path, file, argv, envp, refused);
  refuse(context, plan, result, refused);
}

// argv: name, the plan's fd, the mapping's size.
__attribute__((noreturn, used)) void helper(const long* stack) {
  const char* const* argv = (const char* const*)(stack + 1);
  uint32_t fd = number(argv[1]), size = number(argv[2]);
  long base = sys6(__NR_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base < 0)
    for (;;) sys1(__NR_exit_group, 127);
  struct fp_plan* plan = (struct fp_plan*)(base + FP_STATUS_SIZE);
  struct fp_context context = {
      .base = (char*)base,
      .given = (int32_t*)(base + plan->given),
      .given_count = plan->given_count,
      .slot_count = plan->slot_count,
      .control = plan->control,
      .proc = -1,
      .floor = plan->floor,
      .status = (struct fp_status*)base,
  };
  for (uint32_t i = 0; i < FP_MAX_SLOTS; i++) context.slots[i] = -1;
  prologue(&context, plan);
  steps(&context, plan);
  if (plan->file == 0) finish(&context);
  execute(&context, plan);
}

#if defined(__x86_64__)
__asm__(
    ".globl _start\n.type _start,@function\n_start:\n  xor %ebp, %ebp\n  mov %rsp, %rdi\n  and $-16, %rsp\n"
    "  call helper\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n.type _start,%function\n_start:\n  mov x29, #0\n  mov x30, #0\n  mov x0, sp\n  bl "
        "helper\n");
#endif
