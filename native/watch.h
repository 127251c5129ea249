// The watcher: one thread, one epoll, for the control sockets and pidfds of all children of this process.
#ifndef FANCYPROC_WATCH_H
#define FANCYPROC_WATCH_H

#include <memory>

class Child;

namespace watcher {

// Starts the thread if need be: 0 or -errno.
int start();

// The helper runs: follow it until it is reaped.
void add(const std::shared_ptr<Child>& child);

// Look after the spawner pool.
void wake();

}  // namespace watcher

#endif
