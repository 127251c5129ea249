#include "pidfd.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace {

int integer(const Napi::CallbackInfo& info, size_t index) {
  return info[index].As<Napi::Number>().Int32Value();
}

Napi::Value number(const Napi::CallbackInfo& info, long value) {
  return Napi::Number::New(info.Env(), static_cast<double>(value));
}

long or_errno(long result) { return result < 0 ? -errno : result; }

// struct pidfd_info of <linux/pidfd.h>, which older headers lack.
struct Info {
  uint64_t mask;
  uint64_t cgroup;
  uint32_t ids[11];
  int32_t exit_code;
};
static_assert(sizeof(Info) == 64);

constexpr unsigned long get_info = _IOWR(0xff, 11, Info);
constexpr uint64_t info_exit = 1 << 3;

}  // namespace

namespace pidfd {

Napi::Value open(const Napi::CallbackInfo& info) {
  return number(info, or_errno(syscall(SYS_pidfd_open, integer(info, 0), 0)));
}

Napi::Value send_signal(const Napi::CallbackInfo& info) {
  return number(info,
                or_errno(syscall(SYS_pidfd_send_signal, integer(info, 0), integer(info, 1), nullptr, 0)));
}

Napi::Value getfd(const Napi::CallbackInfo& info) {
  return number(info, or_errno(syscall(SYS_pidfd_getfd, integer(info, 0), integer(info, 1), 0)));
}

Napi::Value exit(const Napi::CallbackInfo& info) {
  Info answer{};
  answer.mask = info_exit;
  if (ioctl(integer(info, 0), get_info, &answer) < 0) {
    // 6.13 and 6.14 know the call, and say ESRCH of a process that has been reaped.
    return number(info, errno == EINVAL || errno == ESRCH ? -ENOTTY : -errno);
  }
  return number(info, answer.mask & info_exit ? answer.exit_code : -EAGAIN);
}

}  // namespace pidfd
