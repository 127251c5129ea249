#include "child.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "plan.h"
#include "watch.h"

// Asks the page itself: the watcher may not have noticed yet what the caller may have seen of the program.
bool Child::executed() const {
  if (state == State::running) return true;
  if (pid == 0) return false;
  fp_status status{};
  return pread(page.get(), &status, sizeof status, 0) == sizeof status && status.phase == FP_PHASE_EXECVE &&
         status.error == 0 && status.clones == 0;
}

int Child::kill(int signal) {
  std::lock_guard lock(mutex);
  if (state == State::gone) return -ESRCH;
  const bool cancels = !executed();
  // Before the program runs there may be, or soon be, another process of this plan: whoever gets hold of it looks here.
  if (cancels) cancelled = true;
  if (pid == 0) {
    watcher::wake();
    return 1;
  }
  int result =
      static_cast<int>(syscall(SYS_pidfd_send_signal, pidfd.load(), cancels ? SIGKILL : signal, nullptr, 0));
  return result < 0 ? -errno : cancels;
}

int Child::resume(int error) {
  std::lock_guard lock(mutex);
  if (!held) return -EINVAL;
  held = false;
  fp_message message{FP_MESSAGE_RESUME, error};
  return send(control.get(), &message, sizeof message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int Child::duplicate_pidfd() {
  std::lock_guard lock(mutex);
  if (state == State::gone || pid == 0) return -ESRCH;
  int copy = fcntl(pidfd.load(), F_DUPFD_CLOEXEC, 3);
  return copy < 0 ? -errno : copy;
}

void Child::abandon() {
  std::lock_guard lock(mutex);
  if (state == State::queued) cancelled = true;
  if (held) shutdown(control.get(), SHUT_RDWR);
}

void Child::fail(int phase, int step, int error, int call, int code, int status) {
  {
    std::lock_guard lock(mutex);
    state = State::gone;
    control.reset();
    page.reset();
    UniqueFd(pidfd.exchange(-1)).reset();
  }
  request = {};
  environment->post(id, EventKind::error,
                    {double(phase), double(step), double(error), double(call), double(code), double(status)});
  environment->remove(id);
}
