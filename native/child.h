// A child from the request to its reaping. Three threads touch it: JavaScript's, a spawner, the watcher.
#ifndef FANCYPROC_CHILD_H
#define FANCYPROC_CHILD_H

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "environment.h"
#include "unique_fd.h"

// Where a spawn failed before the helper ran; continues fp_phase.
enum class LaunchPhase {
  socketpair = 100,
  memfd_create = 101,
  clone3 = 102,
  execveat = 103,
  thread = 104,
  cancelled = 105,
  recvmsg = 106
};

class Child {
 public:
  // What JavaScript asks for; let go once the helper has it.
  struct Request {
    std::vector<uint8_t> plan;
    std::vector<UniqueFd> given;
    std::vector<pid_t> set_tid;
    uint64_t flags = 0;
    UniqueFd cgroup;
  };

  enum class State { queued, launching, setup, running, gone };

  Child(uint32_t id, std::shared_ptr<Environment> environment, Request request)
      : id(id), environment(std::move(environment)), request(std::move(request)) {}

  const uint32_t id;
  const std::shared_ptr<Environment> environment;
  Request request;

  // Written by clone3 before the child runs, so that a parked launch can be ended. The pid comes last: until then the
  // pidfd is not installed yet, or is the number of a clone that failed and may by now be another's.
  std::atomic<int> pidfd{-1};
  std::atomic<pid_t> pid{0};
  UniqueFd control;  // our end
  UniqueFd page;     // the mapping of status, plan and results
  bool has_results = false;

  std::mutex mutex;  // guards what follows, and pidfd's closing
  State state = State::queued;
  bool cancelled = false;
  bool held = false;
  bool announced = false;  // by a process that a `clone` step made
  bool lost_fd = false;    // sent to us when we had none to spare

  // Any thread: 0 or -errno. Before the program runs any signal cancels, and the answer is 1.
  int kill(int signal);
  // Answers a held step: 0 lets it go on, an errno fails it.
  int resume(int error);
  // A new fd for the process, or -errno.
  int duplicate_pidfd();
  // The environment has ended.
  void abandon();

  // Posts and forgets.
  void fail(int phase, int step, int error, int call, int code, int status);

 private:
  bool executed() const;
};

#endif
