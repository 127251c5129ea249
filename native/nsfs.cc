#include "nsfs.h"

#include <fcntl.h>
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

UniqueFd nsfs::open(int directory, const char* path, uint32_t inode) {
  UniqueFd found(openat(directory, path, O_PATH | O_CLOEXEC));
  if (!found || !is(found.get()) || nsfs::inode(found.get()) != inode) return {};
  char self[32];
  std::snprintf(self, sizeof self, "/proc/self/fd/%d", found.get());
  return UniqueFd(::open(self, O_RDONLY | O_CLOEXEC));
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
