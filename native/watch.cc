#include "watch.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "child.h"
#include "plan.h"
#include "spawn.h"

struct watcher::Watch {
  enum class Of { control, process, leftover, polled } of;
  std::shared_ptr<Child> child{};              // of control and process
  fp_status outcome{};                         // of its setup, once the control socket is closed
  UniqueFd fd{};                               // the pidfd that a `clone` step left behind it; what is polled
  std::shared_ptr<Environment> environment{};  // of polled, and its id there
  uint32_t id = 0;
};

namespace {

using watcher::Watch;

constexpr int tick_milliseconds = 20;
constexpr int batch = 64;

struct Watcher {
  int epoll = -1;
  int wakeup = -1;
  std::mutex mutex;
  bool started = false;
  std::atomic<pid_t> thread{0};
  std::vector<Watch*> forgotten;
};

Watcher& state() {
  static Watcher* watcher = new Watcher;
  return *watcher;
}

int control(int operation, int fd, Watch* watch, uint32_t events = EPOLLIN) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = watch;
  return epoll_ctl(state().epoll, operation, fd, &event) < 0 ? -errno : 0;
}

struct Death {
  siginfo_t info{};
  rusage usage{};
};

bool reap(int pidfd, Death& death) {
  long result;
  do {
    result = syscall(SYS_waitid, P_PIDFD, pidfd, &death.info, WEXITED | WNOHANG | __WALL, &death.usage);
  } while (result < 0 && errno == EINTR);
  // ECHILD: somebody else's waitpid(-1) took it.
  return (result == 0 && death.info.si_pid != 0) || (result < 0 && errno == ECHILD);
}

// clone3 in the child told the pid in its caller's namespace; ours is in fdinfo.
pid_t pid_of(int pidfd) {
  char path[64], text[512];
  std::snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
  UniqueFd fd(open(path, O_RDONLY | O_CLOEXEC));
  ssize_t length = fd ? read(fd.get(), text, sizeof text - 1) : 0;
  text[length > 0 ? length : 0] = '\0';
  const char* pid = std::strstr(text, "\nPid:");
  return pid == nullptr ? -1 : static_cast<pid_t>(std::atoi(pid + 5));
}

// The process is the last one that the plan cloned; its maker is only to be reaped.
void replace_process(Child& child, int pidfd) {
  auto* leftover = new Watch{Watch::Of::leftover};
  {
    std::lock_guard lock(child.mutex);
    leftover->fd.reset(child.pidfd.exchange(pidfd));
    child.pid = pid_of(pidfd);
    child.announced = true;
    // The signal may have found its maker.
    if (child.cancelled) syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0);
  }
  if (control(EPOLL_CTL_ADD, leftover->fd.get(), leftover) < 0) delete leftover;
}

// There was no number left for an fd that was sent to us.
void lost(Child& child) {
  child.lost_fd = true;
  child.kill(SIGKILL);
}

void on_message(Child& child, const fp_message& message, UniqueFd fd) {
  switch (message.type) {
    case FP_MESSAGE_FD: {
      if (!fd) return lost(child);
      int raw = fd.release();
      if (!child.environment->post(child.id, EventKind::fd, {double(message.argument), double(raw)}))
        UniqueFd(raw).reset();
      break;
    }
    case FP_MESSAGE_CLONED:
      if (!fd) return lost(child);
      replace_process(child, fd.release());
      break;
    case FP_MESSAGE_HELD: {
      {
        std::lock_guard lock(child.mutex);
        child.held = true;
      }
      if (!child.environment->post(child.id, EventKind::held, {double(message.argument), double(child.pid)}))
        child.resume(ECANCELED);
      break;
    }
  }
}

// There is nobody to watch it: it ends here.
void give_up(Child& child, int error) {
  child.kill(SIGKILL);
  siginfo_t info;
  syscall(SYS_waitid, P_PIDFD, child.pidfd.load(), &info, WEXITED | __WALL, nullptr);
  child.fail(static_cast<int>(LaunchPhase::thread), 0, -error, 0, 0, 0);
}

// False at the end: the program runs, or nothing does.
bool drain(Child& child) {
  for (;;) {
    fp_message message{};
    iovec part{&message, sizeof message};
    alignas(cmsghdr) char ancillary[CMSG_SPACE(sizeof(int))];
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = ancillary;
    header.msg_controllen = sizeof ancillary;
    ssize_t length = recvmsg(child.control.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0 && errno == EAGAIN) return true;
    if (length <= 0) return false;
    UniqueFd fd;
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    if (rights != nullptr && rights->cmsg_type == SCM_RIGHTS) {
      int raw;
      std::memcpy(&raw, CMSG_DATA(rights), sizeof raw);
      fd.reset(raw);
    }
    if (length == sizeof message) on_message(child, message, std::move(fd));
  }
}

bool executed(const fp_status& status) { return status.phase == FP_PHASE_EXECVE && status.error == 0; }
bool succeeded(const fp_status& status) { return executed(status) || status.phase == FP_PHASE_DONE; }

// Made by a `clone` step, and could not tell us. It has not been reaped, so its pid is still its own.
void adopt(Child& child, const fp_status& outcome) {
  if (child.announced || outcome.clones != 1 || outcome.cloned <= 0) return;
  auto pidfd = static_cast<int>(syscall(SYS_pidfd_open, outcome.cloned, 0));
  if (pidfd >= 0) return replace_process(child, pidfd);
  siginfo_t info;
  kill(outcome.cloned, SIGKILL);
  waitid(P_PID, static_cast<id_t>(outcome.cloned), &info, WEXITED | __WALL);
}

// What steps have read for us is in the page, and the label of a program that was refused.
void send_page(Child& child, EventKind kind, double length, UniqueFd page) {
  int raw = page.release();
  if (!child.environment->post(child.id, kind, {length, double(raw)})) UniqueFd(raw).reset();
}

void on_control(Watch* watch) {
  Child& child = *watch->child;
  if (drain(child)) return;
  // The end of the socket alone tells nothing: execve, exit and SIGKILL look alike.
  if (pread(child.page.get(), &watch->outcome, sizeof watch->outcome, 0) != sizeof watch->outcome)
    watch->outcome.error = EIO;
  adopt(child, watch->outcome);
  if (child.lost_fd) watch->outcome = {static_cast<uint32_t>(LaunchPhase::recvmsg), 0, EMFILE, 0, 0, 0, 0};
  epoll_ctl(state().epoll, EPOLL_CTL_DEL, child.control.get(), nullptr);
  UniqueFd page;
  {
    std::lock_guard lock(child.mutex);
    child.control.reset();
    page = std::move(child.page);
    if (executed(watch->outcome)) child.state = Child::State::running;
  }
  const fp_status& outcome = watch->outcome;
  if (succeeded(outcome) && child.has_results) send_page(child, EventKind::data, 0, std::move(page));
  if (!succeeded(outcome) && outcome.label > 0)
    send_page(child, EventKind::label, outcome.label, std::move(page));
  // Whoever is told counts what is open.
  page.reset();
  if (executed(watch->outcome)) child.environment->post(child.id, EventKind::spawn, {double(child.pid)});
  // Whoever has given up the socket without executing his program is not to run it later.
  if (!succeeded(watch->outcome)) child.kill(SIGKILL);
  watch->of = Watch::Of::process;
  int error = control(EPOLL_CTL_ADD, child.pidfd, watch);
  if (error < 0) {
    give_up(child, error);
    delete watch;
  }
}

double microseconds(const timeval& time) { return double(time.tv_sec) * 1e6 + double(time.tv_usec); }

void on_death(Watch* watch) {
  Child& child = *watch->child;
  Death death;
  if (!reap(child.pidfd, death)) return;
  const fp_status& outcome = watch->outcome;
  epoll_ctl(state().epoll, EPOLL_CTL_DEL, child.pidfd, nullptr);
  if (succeeded(outcome)) {
    {
      std::lock_guard lock(child.mutex);
      child.state = Child::State::gone;
      UniqueFd(child.pidfd.exchange(-1)).reset();
    }
    rusage own{};
    getrusage(RUSAGE_SELF, &own);
    // A child that shared our memory until its exec is charged with our peak: only more than that is its own.
    long peak = death.usage.ru_maxrss > own.ru_maxrss ? death.usage.ru_maxrss : 0;
    const rusage& usage = death.usage;
    child.environment->post(child.id, EventKind::exit,
                            {double(death.info.si_code), double(death.info.si_status),
                             microseconds(usage.ru_utime), microseconds(usage.ru_stime), double(peak),
                             double(usage.ru_minflt), double(usage.ru_majflt), double(usage.ru_inblock),
                             double(usage.ru_oublock), double(usage.ru_nvcsw), double(usage.ru_nivcsw)});
    child.environment->remove(child.id);
  } else {
    child.fail(static_cast<int>(outcome.phase), static_cast<int>(outcome.step), outcome.error,
               static_cast<int>(outcome.call), death.info.si_code, death.info.si_status);
  }
  delete watch;
}

void on_leftover(Watch* watch) {
  Death death;
  if (!reap(watch->fd.get(), death)) return;
  epoll_ctl(state().epoll, EPOLL_CTL_DEL, watch->fd.get(), nullptr);
  delete watch;
}

int64_t milliseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1000000;
}

// Between two batches: no event can point to them.
void delete_forgotten() {
  std::vector<Watch*> forgotten;
  {
    std::lock_guard lock(state().mutex);
    forgotten.swap(state().forgotten);
  }
  for (Watch* watch : forgotten) {
    epoll_ctl(state().epoll, EPOLL_CTL_DEL, watch->fd.get(), nullptr);
    delete watch;
  }
}

// Each entry is deleted by its own event or after a batch, and has one fd registered at a time: no event is stale.
void* run(void*) {
  Watcher& watcher = state();
  pthread_setname_np(pthread_self(), "fancyproc:watch");
  watcher.thread = static_cast<pid_t>(syscall(SYS_gettid));
  watcher.thread.notify_all();
  bool ticking = false;
  int64_t ticked = 0;
  for (;;) {
    epoll_event events[batch];
    int count = epoll_wait(watcher.epoll, events, batch, ticking ? tick_milliseconds : -1);
    for (int i = 0; i < count; i++) {
      auto* watch = static_cast<Watch*>(events[i].data.ptr);
      if (watch == nullptr) {
        uint64_t value;
        if (read(watcher.wakeup, &value, sizeof value) > 0) ticking = spawner::grow() || ticking;
      } else if (watch->of == Watch::Of::control) {
        on_control(watch);
      } else if (watch->of == Watch::Of::process) {
        on_death(watch);
      } else if (watch->of == Watch::Of::leftover) {
        on_leftover(watch);
      } else {
        watch->environment->post(watch->id, EventKind::polled, {double(events[i].events)});
      }
    }
    delete_forgotten();
    // A busy epoll never times out.
    if (ticking && milliseconds() - ticked >= tick_milliseconds) {
      ticking = spawner::tick();
      ticked = milliseconds();
    }
  }
  return nullptr;
}

}  // namespace

int watcher::start() {
  Watcher& watcher = state();
  std::lock_guard lock(watcher.mutex);
  if (watcher.started) return 0;
  if (watcher.epoll < 0) watcher.epoll = epoll_create1(EPOLL_CLOEXEC);
  if (watcher.wakeup < 0) watcher.wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (watcher.epoll < 0 || watcher.wakeup < 0) return -errno;
  if (int error = control(EPOLL_CTL_ADD, watcher.wakeup, nullptr); error < 0 && error != -EEXIST)
    return error;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  int error = pthread_create(&thread, nullptr, run, nullptr);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) return -error;
  pthread_detach(thread);
  watcher.started = true;
  return 0;
}

pid_t watcher::thread() {
  state().thread.wait(0);
  return state().thread;
}

void watcher::add(const std::shared_ptr<Child>& child) {
  auto* watch = new Watch{Watch::Of::control, child};
  int error = control(EPOLL_CTL_ADD, child->control.get(), watch);
  if (error == 0) return;
  delete watch;
  give_up(*child, error);
}

int watcher::poll(const std::shared_ptr<Environment>& environment, uint32_t id, UniqueFd fd, uint32_t events,
                  Watch** watch) {
  auto* made = new Watch{Watch::Of::polled, nullptr, {}, std::move(fd), environment, id};
  // Edge-triggered: what nobody answers is told once.
  int error = control(EPOLL_CTL_ADD, made->fd.get(), made, events | EPOLLET);
  if (error < 0) {
    delete made;
    return error;
  }
  *watch = made;
  return 0;
}

void watcher::forget(Watch* watch) {
  {
    std::lock_guard lock(state().mutex);
    state().forgotten.push_back(watch);
  }
  wake();
}

void watcher::wake() {
  uint64_t one = 1;
  [[maybe_unused]] ssize_t written = write(state().wakeup, &one, sizeof one);
}
