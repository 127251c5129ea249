// The helper's image, and the sealed memfd that it runs from.
#ifndef FANCYPROC_IMAGE_H
#define FANCYPROC_IMAGE_H

#include <string>

namespace image {

struct Helper {
  int fd = -1;
  std::string path;  // set where vm.memfd_noexec allows no memfd: the file beside the addon
  int error = 0;     // errno
};

const Helper& helper();

// A memfd that nobody executes, or -errno.
int memfd(const char* name);

}  // namespace image

#endif
