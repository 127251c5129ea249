// One namespace, by its fd: what ioctl_ns(2) tells.
#ifndef FANCYPROC_NSFS_H
#define FANCYPROC_NSFS_H

#include <napi.h>
#include <sys/ioctl.h>

#include <cstdint>

#include "unique_fd.h"

namespace nsfs {

// As in <linux/nsfs.h>, which is often older than the kernel.
enum Request : unsigned long {
  get_userns = _IO(0xb7, 1),                   // 4.9
  get_parent = _IO(0xb7, 2),                   // 4.9
  get_nstype = _IO(0xb7, 3),                   // 4.11
  get_owner_uid = _IO(0xb7, 4),                // 4.11
  get_mntns_id = _IOR(0xb7, 5, uint64_t),      // 6.11
  get_tgid_from_pidns = _IOR(0xb7, 7, int),    // 6.11
  get_tgid_in_pidns = _IOR(0xb7, 9, int),      // 6.11
  mnt_get_next = _IOR(0xb7, 11, uint64_t[2]),  // 6.12
  mnt_get_prev = _IOR(0xb7, 12, uint64_t[2]),  // 6.12
  get_id = _IOR(0xb7, 13, uint64_t),           // 6.18
};

// It is a namespace, of whatever kind.
bool is(int fd);

// 0 if it has none.
uint32_t inode(int fd);

// What the kernel will never give to another one: 0 where it has no such number.
uint64_t id(int fd, bool mount);

// Opens a path that may lead to something else meanwhile, without the effects of opening that: -errno, EINVAL for
// what is no namespace.
int open(int directory, const char* path);

// listns(2), 6.19: ids from one to the next; -errno.
long list(uint32_t kinds, uint64_t after, uint64_t* ids, uint32_t count);

// By its id, 6.18.
UniqueFd open_id(uint64_t id);

// For JavaScript: openNamespace(path), a descriptor or -errno
Napi::Value open_path(const Napi::CallbackInfo& info);

// nsfs(fd, number, argument): what the ioctl of this number answers, or -errno
Napi::Value ask(const Napi::CallbackInfo& info);

}  // namespace nsfs

#endif
