#include "spawn.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <string>
#include <thread>

#include "child.h"
#include "image.h"
#include "launch.h"
#include "plan.h"
#include "watch.h"

namespace {

constexpr size_t stack_size = 64 * 1024;
constexpr size_t page_size = 64 * 1024;  // a guard that fits any page size
constexpr size_t most_threads = 1024;

// No signal may be handled by a child that shares our memory, glibc's own two neither, which its pthread_sigmask
// leaves out. Between launches they are open: setuid() in another thread waits for all threads to handle one.
class BlockedSignals {
 public:
  BlockedSignals() {
    uint64_t all = ~uint64_t{0};
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before_, sizeof all);
  }
  ~BlockedSignals() { syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before_, nullptr, sizeof before_); }

 private:
  uint64_t before_ = 0;
};

// CLEAR_SIGHAND resets handlers, not what is ignored, and Node ignores SIGPIPE.
uint64_t ignored_signals() {
  uint64_t ignored = 0;
  for (int signal = 1; signal <= 64; signal++) {
    uint64_t action[4] = {};
    if (syscall(SYS_rt_sigaction, signal, nullptr, action, sizeof(uint64_t)) == 0 &&
        action[0] == reinterpret_cast<uintptr_t>(SIG_IGN))
      ignored |= uint64_t{1} << (signal - 1);
  }
  return ignored;
}

// Not below `floor`: those numbers are the plan's to name.
int above(int floor, UniqueFd& fd) {
  if (fd.get() >= floor) return 0;
  int moved = fcntl(fd.get(), F_DUPFD_CLOEXEC, floor);
  if (moved < 0) return -errno;
  fd.reset(moved);
  return 0;
}

int make_page(Child& child, int control, std::vector<int32_t>& keep) {
  auto& bytes = child.request.plan;
  auto* plan = reinterpret_cast<fp_plan*>(bytes.data());
  auto* given = reinterpret_cast<int32_t*>(bytes.data() + (plan->given - FP_STATUS_SIZE));
  for (auto& fd : child.request.given) keep.push_back(*given++ = fd.get());
  keep.push_back(control);
  std::sort(keep.begin(), keep.end());
  for (int32_t fd : keep) *given++ = fd;
  plan->control = control;
  plan->signals_ign = ignored_signals();

  int page = image::memfd("fancyproc:plan");
  if (page < 0) return page;
  child.page.reset(page);
  if (pwrite(page, bytes.data(), bytes.size(), FP_STATUS_SIZE) != static_cast<ssize_t>(bytes.size()))
    return errno == 0 ? -EIO : -errno;
  // Room for results, of which only what is written takes memory.
  child.has_results = plan->result_count > 0;
  if (child.has_results && ftruncate(page, plan->size) < 0) return -errno;
  int error = above(plan->floor, child.page);
  if (error < 0) return error;
  keep.push_back(child.page.get());
  return 0;
}

void reap(int pidfd) {
  siginfo_t info{};
  while (waitid(static_cast<idtype_t>(P_PIDFD), pidfd, &info, WEXITED | __WALL) < 0 && errno == EINTR)
    continue;
}

struct Failure {
  LaunchPhase phase;
  int error;
};

Failure launch(Child& child, void* stack, bool is_batch) {
  Child::Request& request = child.request;
  const int floor = reinterpret_cast<const fp_plan*>(request.plan.data())->floor;
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
    return {LaunchPhase::socketpair, errno};
  child.control.reset(ends[0]);
  UniqueFd theirs(ends[1]);
  if (int error = above(floor, theirs)) return {LaunchPhase::socketpair, -error};

  std::vector<int32_t> keep;
  keep.reserve(request.given.size() + 2);
  if (int error = make_page(child, theirs.get(), keep)) return {LaunchPhase::memfd_create, -error};

  const image::Helper& helper = image::helper();
  if (helper.error != 0) return {LaunchPhase::memfd_create, helper.error};
  // A file that is not sealed could be overwritten by who gets hold of it through /proc/PID/exe, where we are going.
  if (!helper.path.empty() && (reinterpret_cast<const fp_plan*>(request.plan.data())->flags & FP_NONDUMPABLE))
    return {LaunchPhase::execveat, EACCES};
  std::string page = std::to_string(child.page.get());
  std::string size = std::to_string(reinterpret_cast<const fp_plan*>(request.plan.data())->size);
  char name[] = "fancyproc";
  char* argv[] = {name, page.data(), size.data(), nullptr};
  fp_launch arguments{};
  arguments.helper = helper.fd;
  arguments.path = helper.path.empty() ? nullptr : helper.path.c_str();
  arguments.argv = argv;
  arguments.keep = keep.data();
  arguments.keep_count = static_cast<uint32_t>(keep.size());
  arguments.new_user = (request.flags & CLONE_NEWUSER) != 0;
  arguments.is_batch = is_batch;

  clone_args args{};
  static_assert(sizeof(child.pidfd) == sizeof(int) && sizeof(child.pid) == sizeof(pid_t));
  args.flags = request.flags | CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_PIDFD | CLONE_PARENT_SETTID |
               CLONE_CLEAR_SIGHAND;
  args.pidfd = reinterpret_cast<uintptr_t>(&child.pidfd);
  args.parent_tid = reinterpret_cast<uintptr_t>(&child.pid);
  args.exit_signal = SIGCHLD;
  args.stack = reinterpret_cast<uintptr_t>(stack);
  args.stack_size = stack_size;
  if (request.cgroup) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<uint64_t>(request.cgroup.get());
  }
  if (!request.set_tid.empty()) {
    args.set_tid = reinterpret_cast<uintptr_t>(request.set_tid.data());
    args.set_tid_size = request.set_tid.size();
  }
  long pid;
  {
    BlockedSignals blocked;
    pid = fp_clone3(&args, sizeof args, fp_launch_child, &arguments);
  }
  if (pid < 0) {
    child.pidfd = -1;
    return {LaunchPhase::clone3, static_cast<int>(-pid)};
  }
  if (arguments.error != 0) {
    reap(child.pidfd);
    return {LaunchPhase::execveat, arguments.error};
  }
  return {LaunchPhase::clone3, 0};
}

class Pool {
 public:
  void submit(std::shared_ptr<Child> child) {
    bool too_few;
    {
      std::lock_guard lock(mutex_);
      queue_.push_back(std::move(child));
      too_few = idle_ < queue_.size();
    }
    wake_.notify_one();
    if (too_few) watcher::wake();
  }

  // A new thread has the ids, namespaces and no_new_privs of the one that makes it. The watcher makes all of them, or
  // a spawn would be what some Worker had made of itself.
  bool grow() {
    std::unique_lock lock(mutex_);
    int error = 0;
    while (idle_ + fresh_ < queue_.size() && threads_ < quiet_threads_ && error == 0) error = add_thread();
    if (threads_ == 0 && error != 0) refuse(lock, -error);
    return !queue_.empty();
  }

  bool tick() {
    std::lock_guard lock(mutex_);
    bool again = false;
    for (auto& child : launching_) {
      std::lock_guard child_lock(child->mutex);
      again = again || child->cancelled;
      if (child->cancelled && child->pid != 0)
        syscall(SYS_pidfd_send_signal, child->pidfd.load(), SIGKILL, nullptr, 0);
    }
    if (queue_.empty()) return again;
    // All are parked, as in a frozen cgroup, when nothing was launched since the last look.
    if (launched_ == launched_before_ && idle_ == 0 && threads_ < most_threads) add_thread();
    launched_before_ = launched_;
    return true;
  }

 private:
  void refuse(std::unique_lock<std::mutex>& lock, int error) {
    std::deque<std::shared_ptr<Child>> refused;
    refused.swap(queue_);
    lock.unlock();
    for (auto& child : refused) child->fail(static_cast<int>(LaunchPhase::thread), 0, error, 0, 0, 0);
  }

  int add_thread() {
    sigset_t all, before;
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 128 * 1024);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(
        &thread, &attributes,
        [](void* pool) -> void* {
          static_cast<Pool*>(pool)->run();
          return nullptr;
        },
        this);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pthread_attr_destroy(&attributes);
    if (error != 0) return -error;
    threads_++;
    fresh_++;
    return 0;
  }

  // Never returns: the parent-death signal is that of the thread which cloned.
  void run() {
    pthread_setname_np(pthread_self(), "fancyproc:spawn");
    const bool is_batch = become_batch();
    char* stack = static_cast<char*>(mmap(nullptr, page_size + stack_size, PROT_NONE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0));
    int stack_error = 0;
    if (stack == MAP_FAILED || mprotect(stack + page_size, stack_size, PROT_READ | PROT_WRITE) < 0)
      stack_error = errno;
    std::unique_lock lock(mutex_);
    fresh_--;
    for (;;) {
      idle_++;
      wake_.wait(lock, [this] { return !queue_.empty(); });
      idle_--;
      std::shared_ptr<Child> child = std::move(queue_.front());
      queue_.pop_front();
      launching_.push_back(child);
      lock.unlock();
      work(*child, child, stack + page_size, stack_error, is_batch);
      lock.lock();
      launched_++;
      launching_.erase(std::find(launching_.begin(), launching_.end(), child));
    }
  }

  // Woken on the processor of who calls spawn(), a SCHED_OTHER thread would run there at once, and the event loop would
  // wait for its clone3: often, where the other processors of a virtual machine sleep. The child takes that back.
  static bool become_batch() {
    const sched_param none{};
    return sched_getscheduler(0) == SCHED_OTHER && sched_setscheduler(0, SCHED_BATCH, &none) == 0;
  }

  static void work(Child& child, const std::shared_ptr<Child>& shared, void* stack, int stack_error,
                   bool is_batch) {
    {
      std::lock_guard lock(child.mutex);
      child.state = Child::State::launching;
      stack_error = child.cancelled ? ECANCELED : stack_error;
    }
    if (stack_error != 0) {
      auto phase = stack_error == ECANCELED ? LaunchPhase::cancelled : LaunchPhase::thread;
      return child.fail(static_cast<int>(phase), 0, stack_error, 0, 0, 0);
    }
    Failure failure = launch(child, stack, is_batch);
    if (failure.error != 0) return child.fail(static_cast<int>(failure.phase), 0, failure.error, 0, 0, 0);
    // Our copies of its fds would keep pipes open.
    child.request = {};
    bool cancelled;
    {
      std::lock_guard lock(child.mutex);
      child.state = Child::State::setup;
      cancelled = child.cancelled;
    }
    if (cancelled) child.kill(SIGKILL);
    watcher::add(shared);
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Child>> queue_;
  std::vector<std::shared_ptr<Child>> launching_;
  const size_t quiet_threads_ = std::clamp(std::thread::hardware_concurrency(), 2u, 16u);
  size_t idle_ = 0;
  size_t threads_ = 0;
  size_t fresh_ = 0;  // made, and not waiting yet
  size_t launched_ = 0;
  size_t launched_before_ = 0;
};

// Never destroyed: its threads outlive every environment, and exit() too.
Pool& pool() {
  static Pool* pool = new Pool;
  return *pool;
}

}  // namespace

void spawner::submit(std::shared_ptr<Child> child) { pool().submit(std::move(child)); }
bool spawner::grow() { return pool().grow(); }
bool spawner::tick() { return pool().tick(); }
