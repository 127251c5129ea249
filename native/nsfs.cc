#include "nsfs.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace {

constexpr long magic = 0x6e736673;  // NSFS_MAGIC
constexpr long listns_number = 470;
constexpr int root = -10003;  // FD_NSFS_ROOT

struct ns_id_req {
  uint32_t size;
  uint32_t spare;
  uint64_t ns_id;
  uint32_t ns_type;
  uint32_t spare2;
  uint64_t user_ns_id;
};

// struct file_handle with a struct nsfs_file_handle in it.
struct handle {
  uint32_t bytes;
  int32_t type;
  uint64_t ns_id;
  uint32_t ns_type;
  uint32_t ns_inum;
};

}  // namespace

bool nsfs::is(int fd) {
  struct statfs status;
  return fstatfs(fd, &status) == 0 && status.f_type == magic;
}

uint32_t nsfs::inode(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 ? static_cast<uint32_t>(status.st_ino) : 0;
}

uint64_t nsfs::id(int fd, bool mount) {
  uint64_t id = 0;
  if (ioctl(fd, get_id, &id) == 0) return id;
  if (mount && ioctl(fd, get_mntns_id, &id) == 0) return id;
  return 0;
}

int nsfs::open(int directory, const char* path) {
  UniqueFd found(openat(directory, path, O_PATH | O_CLOEXEC));
  if (!found) return -errno;
  if (!is(found.get())) return -EINVAL;
  char self[32];
  std::snprintf(self, sizeof self, "/proc/self/fd/%d", found.get());
  int fd = ::open(self, O_RDONLY | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

long nsfs::list(uint32_t kinds, uint64_t after, uint64_t* ids, uint32_t count) {
  ns_id_req request{sizeof request, 0, after, kinds, 0, 0};
  long result = syscall(listns_number, &request, ids, static_cast<size_t>(count), 0u);
  return result < 0 ? -errno : result;
}

UniqueFd nsfs::open_id(uint64_t id) {
  handle wanted{16, 0xf1, id, 0, 0};
  return UniqueFd(static_cast<int>(syscall(SYS_open_by_handle_at, root, &wanted, O_RDONLY | O_CLOEXEC)));
}

Napi::Value nsfs::open_path(const Napi::CallbackInfo& info) {
  const std::string path = info[0].As<Napi::String>();
  return Napi::Number::New(info.Env(), open(AT_FDCWD, path.c_str()));
}

Napi::Value nsfs::ask(const Napi::CallbackInfo& info) {
  const int fd = info[0].As<Napi::Number>().Int32Value();
  const auto request = static_cast<unsigned long>(info[1].As<Napi::Number>().Int64Value());
  uint64_t id = 0;
  uid_t uid = 0;
  double result = -1;
  // Other files may take these numbers for something else.
  if (!is(fd)) {
    errno = fcntl(fd, F_GETFD) < 0 ? EBADF : ENOTTY;
  } else if (request == get_id) {
    if ((id = nsfs::id(fd, ioctl(fd, get_nstype) == CLONE_NEWNS)) != 0) result = double(id);
  } else if (request == get_owner_uid) {
    if (ioctl(fd, get_owner_uid, &uid) == 0) result = uid;
  } else {
    result = ioctl(fd, request, info[2].As<Napi::Number>().Int32Value());
  }
  return Napi::Number::New(info.Env(), result < 0 ? -errno : result);
}
