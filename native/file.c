// Files: made, opened, written.
#include <linux/fcntl.h>
#include <linux/openat2.h>

#include "primitive.h"

FP_CALL(mkdirat, __NR_mkdirat)
FP_CALL(symlinkat, __NR_symlinkat)
FP_CALL(mknodat, __NR_mknodat)
FP_CALL(openat, __NR_openat)

FP_PRIMITIVE(openat2) {
  FP_UNUSED(context);
  struct open_how how = {
      .flags = (uint64_t)a->value[2],
      .mode = (uint64_t)a->value[3],
      .resolve = (uint64_t)a->value[4],
  };
  return sys4(__NR_openat2, a->value[0], a->value[1], &how, sizeof how);
}

static long write_all(struct fp_context* context, int fd, const char* bytes, size_t length) {
  context->status->call = 1;
  long written;
  do {
    written = sys3(__NR_write, fd, bytes, length);
    if (written < 0) break;
    bytes += written;
    length -= (size_t)written;
  } while (length > 0 && written > 0);
  sys1(__NR_close, fd);
  if (written < 0) return written;
  return length > 0 ? -EIO : 0;
}

FP_PRIMITIVE(write_file) {
  long fd = sys4(__NR_openat, a->value[0], a->value[1], a->value[2] | O_WRONLY | O_CLOEXEC, a->value[3]);
  if (fd < 0) return fd;
  return write_all(context, (int)fd, (const char*)a->value[4], a->length[4]);
}

long fp_write_proc(struct fp_context* context, const char* path, const void* bytes, size_t length) {
  long fd = sys4(__NR_openat, context->proc, path, O_WRONLY | O_CLOEXEC, 0);
  if (fd < 0) return fd;
  return write_all(context, (int)fd, bytes, length);
}
