// ioctl(2), which is how terminals are driven, and setsid(2).
#include "primitive.h"

FP_CALL(ioctl, __NR_ioctl)
FP_CALL(setsid, __NR_setsid)
