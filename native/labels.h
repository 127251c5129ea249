// Labels of threads and files, for the addon alone: functions of lib/native.ts.
#ifndef FANCYPROC_LABELS_H
#define FANCYPROC_LABELS_H

#include <napi.h>

Napi::Value lsm_get_self_attr(const Napi::CallbackInfo& info);
Napi::Value get_xattr(const Napi::CallbackInfo& info);
Napi::Value set_xattr(const Napi::CallbackInfo& info);
Napi::Value relabel_begin(const Napi::CallbackInfo& info);
Napi::Value relabel_continue(const Napi::CallbackInfo& info);
Napi::Value relabel_end(const Napi::CallbackInfo& info);

#endif
