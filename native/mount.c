// mount(2), umount2(2), pivot_root(2)
#include "primitive.h"

FP_CALL(mount, __NR_mount)
FP_CALL(umount2, __NR_umount2)
FP_CALL(pivot_root, __NR_pivot_root)
