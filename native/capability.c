// capset(2)
#include <linux/capability.h>

#include "primitive.h"

FP_PRIMITIVE(capset) {
  FP_UNUSED(context);
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
  for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
    data[i].effective = (uint32_t)((uint64_t)a->value[0] >> (32 * i));
    data[i].permitted = (uint32_t)((uint64_t)a->value[1] >> (32 * i));
    data[i].inheritable = (uint32_t)((uint64_t)a->value[2] >> (32 * i));
  }
  return sys2(__NR_capset, &header, data);
}
