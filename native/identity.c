// User and group ids, and how a user namespace maps them.
#include "primitive.h"

FP_CALL(setresuid, __NR_setresuid)
FP_CALL(setresgid, __NR_setresgid)

FP_PRIMITIVE(setgroups) {
  FP_UNUSED(context);
  return sys2(__NR_setgroups, a->length[0] / sizeof(uint32_t), a->value[0]);
}

// A map of more than the caller's own id is the parent's to write: it has the privilege, or newuidmap has.
static long id_map(struct fp_context* context, const struct fp_arguments* a, const char* path) {
  if (a->value[1] >= 0) return fp_hold(context, (int32_t)a->value[1]);
  return fp_write_proc(context, path, (const void*)a->value[0], a->length[0]);
}

FP_PRIMITIVE(uid_map) { return id_map(context, a, "self/uid_map"); }
FP_PRIMITIVE(gid_map) { return id_map(context, a, "self/gid_map"); }

FP_PRIMITIVE(setgroups_deny) {
  FP_UNUSED(a);
  return fp_write_proc(context, "self/setgroups", "deny", 4);
}
