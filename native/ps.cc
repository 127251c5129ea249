#include "ps.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "proc.h"
#include "turns.h"
#include "unique_fd.h"
#include "work.h"

namespace {

// Done in libuv's pool, to a number, -errno, or an ArrayBuffer. It has a descriptor of its own: whoever gave it may end
// meanwhile.
class OfProcfs {
 public:
  explicit OfProcfs(int procfs) : procfs_(fcntl(procfs, F_DUPFD_CLOEXEC, 3)) {
    if (!procfs_) error_ = -errno;
  }
  virtual ~OfProcfs() = default;

  static Napi::Value start(Napi::Env env, std::shared_ptr<OfProcfs> work) {
    return queue_work(
        env,
        [work] {
          if (work->error_ == 0) work->error_ = work->run();
        },
        [work](Napi::Env in) -> Napi::Value {
          return work->error_ < 0 ? Napi::Number::New(in, work->error_).As<Napi::Value>() : work->result(in);
        });
  }

 protected:
  virtual int run() = 0;
  virtual Napi::Value result(Napi::Env env) = 0;

  UniqueFd procfs_;

 private:
  int error_ = 0;
};

class List final : public OfProcfs {
 public:
  using OfProcfs::OfProcfs;

 private:
  int run() override { return proc::list(procfs_.get(), pids_); }
  Napi::Value result(Napi::Env env) override {
    auto buffer = Napi::ArrayBuffer::New(env, pids_.size() * sizeof(int32_t));
    if (buffer.IsEmpty()) return buffer;
    std::copy(pids_.begin(), pids_.end(), static_cast<int32_t*>(buffer.Data()));
    return buffer;
  }

  std::vector<int32_t> pids_;
};

class Read final : public OfProcfs {
 public:
  Read(int procfs, uint32_t files, std::vector<int32_t> pids, Napi::ArrayBuffer room)
      : OfProcfs(procfs), reader_(procfs_.get(), files), pids_(std::move(pids)),
        room_(Napi::Persistent(room.As<Napi::Object>())) {}

 private:
  int run() override {
    Turns turns;
    for (int32_t pid : pids_) {
      if (int error = reader_.read(pid); error < 0) return error;
      turns.next();
    }
    return 0;
  }
  Napi::Value result(Napi::Env env) override {
    const double rows = static_cast<double>(reader_.rows);
    const size_t numbers = reader_.numbers.size() * sizeof(double);
    const size_t size = sizeof rows + numbers + reader_.heap.size();
    auto buffer = room_.Value().As<Napi::ArrayBuffer>();
    // One is used again and again: each new one would bring a garbage collection nearer.
    if (buffer.ByteLength() < size) buffer = Napi::ArrayBuffer::New(env, size * 2);
    if (buffer.IsEmpty()) return buffer;
    char* at = static_cast<char*>(buffer.Data());
    std::memcpy(at, &rows, sizeof rows);
    std::copy_n(reinterpret_cast<const char*>(reader_.numbers.data()), numbers, at + sizeof rows);
    std::copy_n(reader_.heap.data(), reader_.heap.size(), at + sizeof rows + numbers);
    return buffer;
  }

  proc::Reader reader_;
  const std::vector<int32_t> pids_;
  Napi::ObjectReference room_;
};

double milliseconds(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return double(now.tv_sec) * 1e3 + double(now.tv_nsec) / 1e6;
}

int32_t integer(const Napi::CallbackInfo& info, size_t index) {
  return info[index].As<Napi::Number>().Int32Value();
}

}  // namespace

namespace ps {

Napi::Value is_procfs(const Napi::CallbackInfo& info) {
  struct statfs filesystem;
  const int error = fstatfs(integer(info, 0), &filesystem);
  return Napi::Number::New(info.Env(), error < 0 ? -errno : filesystem.f_type == PROC_SUPER_MAGIC);
}

Napi::Value list(const Napi::CallbackInfo& info) {
  return OfProcfs::start(info.Env(), std::make_shared<List>(integer(info, 0)));
}

Napi::Value read(const Napi::CallbackInfo& info) {
  auto pids = info[2].As<Napi::Int32Array>();
  std::vector<int32_t> wanted(pids.Data(), pids.Data() + pids.ElementLength());
  auto work = std::make_shared<Read>(integer(info, 0), static_cast<uint32_t>(integer(info, 1)),
                                     std::move(wanted), info[3].As<Napi::ArrayBuffer>());
  return OfProcfs::start(info.Env(), std::move(work));
}

Napi::Value start_of_clock(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), milliseconds(CLOCK_REALTIME) - milliseconds(CLOCK_BOOTTIME));
}

}  // namespace ps
