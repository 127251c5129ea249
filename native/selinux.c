// SELinux attributes of the calling thread.
#include "primitive.h"

enum { LSM_ID_SELINUX = 101, LSM_ATTR_EXEC = 101, CONTEXT_MAX = 4096 };

// struct lsm_ctx of <linux/lsm.h> (6.8).
struct lsm_ctx {
  uint64_t id;
  uint64_t flags;
  uint64_t len;
  uint64_t ctx_len;
  uint8_t ctx[CONTEXT_MAX];
};

// The system call needs no /proc and names the LSM it means; before 6.8 there is the file only.
FP_PRIMITIVE(setexeccon) {
  struct lsm_ctx attribute;
  uint32_t length = a->length[0];
  if (length > CONTEXT_MAX) return -E2BIG;
  attribute.id = LSM_ID_SELINUX;
  attribute.flags = 0;
  attribute.ctx_len = length;
  attribute.len = (offsetof(struct lsm_ctx, ctx) + length + 7) & ~(uint64_t)7;
  for (uint32_t i = 0; i < length; i++) attribute.ctx[i] = ((const uint8_t*)a->value[0])[i];
  for (uint32_t i = length; i < length + 8 && i < CONTEXT_MAX; i++) attribute.ctx[i] = 0;
  long result = sys4(__NR_lsm_set_self_attr, LSM_ATTR_EXEC, &attribute, attribute.len, 0);
  if (result != -ENOSYS) return result;
  // An empty write is no write: a newline clears.
  if (length == 0) return fp_write_proc(context, "thread-self/attr/exec", "\n", 1);
  return fp_write_proc(context, "thread-self/attr/exec", (const void*)a->value[0], length);
}
