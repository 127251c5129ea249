#include "image.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "unique_fd.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

// Made from the helper's executable by the build.
extern "C" const unsigned char fancyproc_helper[];
extern "C" const unsigned char fancyproc_helper_end[];

namespace {

// Kernels before 6.3 know neither NOEXEC_SEAL nor EXEC, and need neither.
int create(const char* name, unsigned flags, unsigned newer) {
  long fd = syscall(SYS_memfd_create, name, flags | newer);
  if (fd < 0 && errno == EINVAL) fd = syscall(SYS_memfd_create, name, flags);
  return static_cast<int>(fd);
}

std::string beside_the_addon() {
  Dl_info info{};
  if (dladdr(fancyproc_helper, &info) == 0 || info.dli_fname == nullptr) return {};
  std::string addon = info.dli_fname;
  return addon.substr(0, addon.rfind('/') + 1) + "fancyproc-helper";
}

image::Helper make() {
  image::Helper helper;
  const size_t size = static_cast<size_t>(fancyproc_helper_end - fancyproc_helper);
  UniqueFd fd(create("fancyproc:helper", MFD_CLOEXEC | MFD_ALLOW_SEALING, MFD_EXEC));
  if (!fd && errno == EACCES) {
    helper.path = beside_the_addon();
    if (access(helper.path.c_str(), X_OK) < 0) helper.error = errno;
    return helper;
  }
  // Whoever gets hold of /proc/PID/exe of a helper must not be able to change it for the next one.
  if (!fd || write(fd.get(), fancyproc_helper, size) != static_cast<ssize_t>(size) ||
      fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0) {
    helper.error = errno == 0 ? EIO : errno;
    return helper;
  }
  helper.fd = fd.release();
  return helper;
}

}  // namespace

const image::Helper& image::helper() {
  static const Helper* helper = new Helper(make());
  return *helper;
}

int image::memfd(const char* name) {
  int fd = create(name, MFD_CLOEXEC, MFD_NOEXEC_SEAL);
  return fd < 0 ? -errno : fd;
}
