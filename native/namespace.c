// unshare(2), setns(2)
#include "primitive.h"

FP_CALL(unshare, __NR_unshare)
FP_CALL(setns, __NR_setns)
