// Files: made, opened, written, read for the parent.
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

// One byte more than is wanted fits, so that a longer file is not taken for whole.
FP_PRIMITIVE(read_file) {
  struct fp_result* result = (struct fp_result*)a->value[3];
  uint32_t room = a->length[3], length = 0;
  long fd = sys4(__NR_openat, a->value[0], a->value[1], a->value[2] | O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return fd;
  context->status->call = 1;
  long got;
  do {
    got = sys3(__NR_read, fd, result->bytes + length, room - length);
    if (got > 0) length += (uint32_t)got;
  } while (got > 0 && length < room);
  sys1(__NR_close, fd);
  if (got < 0) return got;
  if (length == room) return -EFBIG;
  result->length = length;
  return 0;
}

FP_PRIMITIVE(readlinkat) {
  FP_UNUSED(context);
  struct fp_result* result = (struct fp_result*)a->value[2];
  long length = sys4(__NR_readlinkat, a->value[0], a->value[1], result->bytes, a->length[2]);
  if (length < 0) return length;
  if ((uint32_t)length == a->length[2]) return -ENAMETOOLONG;
  result->length = (uint64_t)length;
  return 0;
}

// struct statfs of 64 bits: fifteen longs.
FP_PRIMITIVE(statfs) {
  FP_UNUSED(context);
  struct fp_result* result = (struct fp_result*)a->value[1];
  long asked = sys2(__NR_statfs, a->value[0], result->bytes);
  if (asked < 0) return asked;
  result->length = 15 * sizeof(long);
  return 0;
}
