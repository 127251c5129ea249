// The table of processes for JavaScript, read in libuv's pool.
#ifndef FANCYPROC_PS_H
#define FANCYPROC_PS_H

#include <napi.h>

namespace ps {

// isProcfs(fd): 1, 0 or -errno
Napi::Value is_procfs(const Napi::CallbackInfo& info);

// listProcesses(procfs): a promise of an ArrayBuffer of pids, or -errno
Napi::Value list(const Napi::CallbackInfo& info);

// readProcesses(procfs, files, pids, room): a promise of an ArrayBuffer, which is `room` if that is large enough, or
// -errno. It has the number of rows, the rows' numbers, and the bytes that belong to them.
Napi::Value read(const Napi::CallbackInfo& info);

// startOfClock(): milliseconds since 1970 at which the clock of start times, CLOCK_BOOTTIME, was 0
Napi::Value start_of_clock(const Napi::CallbackInfo& info);

}  // namespace ps

#endif
