// What fs_struct holds: root, working directory, umask.
#include "primitive.h"

FP_CALL(chdir, __NR_chdir)
FP_CALL(fchdir, __NR_fchdir)
FP_CALL(chroot, __NR_chroot)
FP_CALL(umask, __NR_umask)
