// sethostname(2), setdomainname(2)
#include "primitive.h"

FP_PRIMITIVE(sethostname) {
  FP_UNUSED(context);
  return sys2(__NR_sethostname, a->value[0], a->length[0]);
}

FP_PRIMITIVE(setdomainname) {
  FP_UNUSED(context);
  return sys2(__NR_setdomainname, a->value[0], a->length[0]);
}
