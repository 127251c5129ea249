// keyctl(2)
#include <linux/keyctl.h>

#include "primitive.h"

FP_PRIMITIVE(join_session_keyring) {
  FP_UNUSED(context);
  return sys2(__NR_keyctl, KEYCTL_JOIN_SESSION_KEYRING, a->value[0]);
}
