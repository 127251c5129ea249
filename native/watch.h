// The watcher: one thread, one epoll, for the control sockets and pidfds of all children of this process.
#ifndef FANCYPROC_WATCH_H
#define FANCYPROC_WATCH_H

#include <sys/types.h>

#include <memory>

class Child;

namespace watcher {

// Starts the thread if need be: 0 or -errno.
int start();

// Its thread id, once started: spawns have this thread's namespaces and ids.
pid_t thread();

// The helper runs: follow it until it is reaped.
void add(const std::shared_ptr<Child>& child);

// Look after the spawner pool.
void wake();

}  // namespace watcher

#endif
