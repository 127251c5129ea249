// The watcher: one thread, one epoll, for the control sockets and pidfds of all children of this process, and for fds that
// JavaScript polls.
#ifndef FANCYPROC_WATCH_H
#define FANCYPROC_WATCH_H

#include <sys/types.h>

#include <cstdint>
#include <memory>

#include "unique_fd.h"

class Child;
class Environment;

namespace watcher {

// What an epoll entry points to.
struct Watch;

// Starts the thread if need be: 0 or -errno.
int start();

// Its thread id, once started: spawns have this thread's namespaces and ids.
pid_t thread();

// The helper runs: follow it until it is reaped.
void add(const std::shared_ptr<Child>& child);

// Tells the environment each time that one of these events, EPOLLERR or EPOLLHUP comes of an fd, by an id of its own:
// -errno, or 0 and what to forget.
int poll(const std::shared_ptr<Environment>& environment, uint32_t id, UniqueFd fd, uint32_t events,
         Watch** watch);

// Ends that, and closes the fd. Events that are on their way may still come.
void forget(Watch* watch);

// Look after the spawner pool.
void wake();

}  // namespace watcher

#endif
