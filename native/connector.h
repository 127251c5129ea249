// The proc connector: the kernel's own word of each process that starts, executes a program or ends.
#ifndef FANCYPROC_CONNECTOR_H
#define FANCYPROC_CONNECTOR_H

#include <napi.h>

namespace connector {

// connectorOpen(): an fd that listens, or -errno. -EAGAIN: the kernel has not answered.
Napi::Value open(const Napi::CallbackInfo& info);

// connectorRead(fd, rows, lost): how many rows there were: kind (1 start, 2 exec, 3 exit, 4 a thread's start, 5 events
// have been lost before those that follow), pid, parent, wait status. -errno if it failed. `lost`, a Float64Array, is
// when, from one call to the next.
Napi::Value read(const Napi::CallbackInfo& info);

// connectorClose(fd)
Napi::Value close(const Napi::CallbackInfo& info);

}  // namespace connector

#endif
