// pidfds of processes that are not our children.
#ifndef FANCYPROC_PIDFD_H
#define FANCYPROC_PIDFD_H

#include <napi.h>

namespace pidfd {

// pidfdOpen(pid): an fd, or -errno
Napi::Value open(const Napi::CallbackInfo& info);

// pidfdSendSignal(pidfd, signal): 0 or -errno
Napi::Value send_signal(const Napi::CallbackInfo& info);

// pidfdGetfd(pidfd, fd): an fd, or -errno
Napi::Value getfd(const Napi::CallbackInfo& info);

// pidfdExit(pidfd): the wait status of a process that has been reaped; -EAGAIN before that, -ENOTTY before Linux 6.15
Napi::Value exit(const Napi::CallbackInfo& info);

}  // namespace pidfd

#endif
