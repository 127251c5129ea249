// What fs_struct holds: root, working directory, umask.
#include "primitive.h"

// Through a descriptor of ours in /proc/self/fd a path leads out of the root, and the program would keep that directory.
FP_PRIMITIVE(chdir) {
  FP_UNUSED(context);
  char path[4096];
  long error = sys1(__NR_chdir, a->value[0]);
  if (error < 0) return error;
  long length = sys2(__NR_getcwd, path, sizeof path);
  if (length < 0) return length;
  return path[0] == '/' ? 0 : -EXDEV;
}

FP_CALL(fchdir, __NR_fchdir)
FP_CALL(chroot, __NR_chroot)
FP_CALL(umask, __NR_umask)
