// lsm_set_self_attr(2): the labels that SELinux and AppArmor keep of the calling thread.
#include "primitive.h"

// <linux/lsm.h> is of 6.8.
enum { LSM_ID_SELINUX = 101, LSM_ID_APPARMOR = 104 };
enum {
  LSM_ATTR_CURRENT = 100,
  LSM_ATTR_EXEC = 101,
  LSM_ATTR_FSCREATE = 102,
  LSM_ATTR_KEYCREATE = 103,
  LSM_ATTR_SOCKCREATE = 105,
};

// struct lsm_ctx, which the kernel takes up to a page of.
struct lsm_ctx {
  uint64_t id;
  uint64_t flags;
  uint64_t len;
  uint64_t ctx_len;
  uint8_t ctx[4096 - 32];
};

// The system call needs no /proc and names the LSM it means; before 6.8 there is the file only.
static long set_attribute(struct fp_context* context, const struct fp_arguments* a, uint64_t lsm,
                          uint32_t attribute, const char* file) {
  struct lsm_ctx value;
  const uint8_t* label = (const uint8_t*)a->value[0];
  uint32_t length = a->length[0];
  if (length > sizeof value.ctx) return -E2BIG;
  value.id = lsm;
  value.flags = 0;
  value.ctx_len = length;
  value.len = (offsetof(struct lsm_ctx, ctx) + length + 7) & ~(uint64_t)7;
  for (uint32_t i = 0; i < length; i++) value.ctx[i] = label[i];
  for (uint32_t i = length; i < value.len - offsetof(struct lsm_ctx, ctx); i++) value.ctx[i] = 0;
  long result = sys4(__NR_lsm_set_self_attr, attribute, &value, value.len, 0);
  if (result != -ENOSYS) return result;
  // An empty write is no write: a newline clears.
  if (length == 0) return fp_write_proc(context, file, "\n", 1);
  return fp_write_proc(context, file, label, length);
}

#define LSM_ATTRIBUTE(name, lsm, attribute, file)                                                            \
  FP_PRIMITIVE(name) { return set_attribute(context, a, lsm, attribute, "thread-self/attr/" file); }

LSM_ATTRIBUTE(setexeccon, LSM_ID_SELINUX, LSM_ATTR_EXEC, "exec")
LSM_ATTRIBUTE(setfscreatecon, LSM_ID_SELINUX, LSM_ATTR_FSCREATE, "fscreate")
LSM_ATTRIBUTE(setkeycreatecon, LSM_ID_SELINUX, LSM_ATTR_KEYCREATE, "keycreate")
LSM_ATTRIBUTE(setsockcreatecon, LSM_ID_SELINUX, LSM_ATTR_SOCKCREATE, "sockcreate")
LSM_ATTRIBUTE(setcon, LSM_ID_SELINUX, LSM_ATTR_CURRENT, "current")
LSM_ATTRIBUTE(aa_change_onexec, LSM_ID_APPARMOR, LSM_ATTR_EXEC, "apparmor/exec")
LSM_ATTRIBUTE(aa_change_profile, LSM_ID_APPARMOR, LSM_ATTR_CURRENT, "apparmor/current")
