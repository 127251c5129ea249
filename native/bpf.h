// bpf(2) for JavaScript, in libuv's pool.
#ifndef FANCYPROC_BPF_H
#define FANCYPROC_BPF_H

#include <napi.h>

// bpf(command, attributes, buffers, offsets): a promise of the result, or -errno. The attributes are the kernel's union
// bpf_attr; the addresses of the buffers are put into it at their offsets. The kernel may write into all of them.
Napi::Value bpf(const Napi::CallbackInfo& info);

#endif
