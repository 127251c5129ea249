// What lib/native.ts sees: functions that take numbers and bytes and return a number, -errno when it failed.
#include <fcntl.h>
#include <napi.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <string>

#include "bpf.h"
#include "child.h"
#include "connector.h"
#include "environment.h"
#include "labels.h"
#include "namespaces.h"
#include "nsfs.h"
#include "pidfd.h"
#include "primitive.h"
#include "ps.h"
#include "spawn.h"
#include "watch.h"

namespace {

int64_t integer(const Napi::CallbackInfo& info, size_t index) {
  return info[index].As<Napi::Number>().Int64Value();
}

Napi::Value number(const Napi::CallbackInfo& info, double value) {
  return Napi::Number::New(info.Env(), value);
}

// operations(): [name, arguments, scope, flags, kernel][]
Napi::Value operations(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Napi::Array rows = Napi::Array::New(env, fp_operation_count);
  for (uint32_t i = 0; i < fp_operation_count; i++) {
    const fp_operation& operation = fp_operations[i];
    Napi::Array row = Napi::Array::New(env, 5);
    row.Set(0u, operation.name);
    row.Set(1u, operation.arguments);
    row.Set(2u, operation.scope);
    row.Set(3u, operation.flags);
    row.Set(4u, operation.kernel);
    rows.Set(i, row);
  }
  return rows;
}

// init(onEvents)
Napi::Value init(const Napi::CallbackInfo& info) {
  // At once: what the thread that loads us does to itself later is not to be passed on to spawns.
  int error = watcher::start();
  if (error < 0) return number(info, error);
  auto environment = Environment::create(info.Env(), info[0].As<Napi::Function>());
  return number(info, environment == nullptr ? -ENOMEM : 0);
}

// spawn(plan, given, flags, cgroup, setTid): id
Napi::Value spawn(const Napi::CallbackInfo& info) {
  auto environment = Environment::of(info.Env());
  auto plan = info[0].As<Napi::Uint8Array>();
  auto given = info[1].As<Napi::Int32Array>();
  int cgroup = static_cast<int>(integer(info, 3));
  auto set_tid = info[4].As<Napi::Int32Array>();
  const int floor = reinterpret_cast<const fp_plan*>(plan.Data())->floor;

  Child::Request request;
  request.flags = static_cast<uint64_t>(integer(info, 2));
  request.given.reserve(given.ElementLength());
  for (size_t i = 0; i < given.ElementLength(); i++) {
    // Above all numbers that the plan names, so that no source is another's target.
    UniqueFd copy(fcntl(given[i], F_DUPFD_CLOEXEC, floor));
    if (!copy) return number(info, -errno);
    request.given.push_back(std::move(copy));
  }
  if (cgroup >= 0) {
    request.cgroup.reset(fcntl(cgroup, F_DUPFD_CLOEXEC, 3));
    if (!request.cgroup) return number(info, -errno);
  }
  request.set_tid.assign(set_tid.Data(), set_tid.Data() + set_tid.ElementLength());
  request.plan.assign(plan.Data(), plan.Data() + plan.ByteLength());

  auto child = std::make_shared<Child>(environment->next_id(), environment, std::move(request));
  environment->add(child);
  spawner::submit(child);
  return number(info, child->id);
}

std::shared_ptr<Child> child_of(const Napi::CallbackInfo& info) {
  return Environment::of(info.Env())->find(static_cast<uint32_t>(integer(info, 0)));
}

// kill(id, signal)
Napi::Value kill(const Napi::CallbackInfo& info) {
  auto child = child_of(info);
  return number(info, child ? child->kill(static_cast<int>(integer(info, 1))) : -ESRCH);
}

// resume(id, errno)
Napi::Value resume(const Napi::CallbackInfo& info) {
  auto child = child_of(info);
  return number(info, child ? child->resume(static_cast<int>(integer(info, 1))) : -ESRCH);
}

// pidfd(id)
Napi::Value pidfd(const Napi::CallbackInfo& info) {
  auto child = child_of(info);
  return number(info, child ? child->duplicate_pidfd() : -ESRCH);
}

Napi::Value ref(const Napi::CallbackInfo& info) {
  Environment::of(info.Env())->ref();
  return info.Env().Undefined();
}

Napi::Value unref(const Napi::CallbackInfo& info) {
  Environment::of(info.Env())->unref();
  return info.Env().Undefined();
}

// identity(): the id of a thread whose namespaces and ids spawns have
Napi::Value identity(const Napi::CallbackInfo& info) { return number(info, watcher::thread()); }

// poll(fd, events): id
Napi::Value poll(const Napi::CallbackInfo& info) {
  UniqueFd copy(fcntl(static_cast<int>(integer(info, 0)), F_DUPFD_CLOEXEC, 3));
  if (!copy) return number(info, -errno);
  auto events = static_cast<uint32_t>(integer(info, 1));
  return number(info, Environment::of(info.Env())->poll(std::move(copy), events));
}

// unpoll(id)
Napi::Value unpoll(const Napi::CallbackInfo& info) {
  Environment::of(info.Env())->unpoll(static_cast<uint32_t>(integer(info, 0)));
  return info.Env().Undefined();
}

// call(plan): its first step, now, on this thread. [result, index of the call that gave it]
Napi::Value call(const Napi::CallbackInfo& info) {
  auto bytes = info[0].As<Napi::Uint8Array>();
  const auto* plan = reinterpret_cast<const fp_plan*>(bytes.Data());
  char* base = reinterpret_cast<char*>(bytes.Data()) - FP_STATUS_SIZE;
  fp_status status{};
  fp_context context{};
  context.base = base;
  context.given = reinterpret_cast<int32_t*>(base + plan->given);
  context.given_count = plan->given_count;
  context.control = -1;
  context.proc = -1;
  context.status = &status;
  UniqueFd proc;
  long result = 0;
  if (plan->flags & FP_PROCFS) {
    proc.reset(open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
    context.proc = proc.get();
    if (!proc) result = -errno;
  }
  if (result == 0) result = fp_run_step(&context, reinterpret_cast<const fp_op*>(base + plan->ops));
  Napi::Array answer = Napi::Array::New(info.Env(), 2);
  answer.Set(0u, static_cast<double>(result));
  answer.Set(1u, status.call);
  return answer;
}

// pipe(ends)
Napi::Value pipe(const Napi::CallbackInfo& info) {
  return number(info, pipe2(info[0].As<Napi::Int32Array>().Data(), O_CLOEXEC) < 0 ? -errno : 0);
}

// socketpair(ends)
Napi::Value socketpair(const Napi::CallbackInfo& info) {
  int* ends = info[0].As<Napi::Int32Array>().Data();
  return number(info, ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0 ? -errno : 0);
}

// openpty(ends): master and slave, of the caller's own devpts
Napi::Value openpty(const Napi::CallbackInfo& info) {
  int* ends = info[0].As<Napi::Int32Array>().Data();
  int unlock = 0;
  UniqueFd master(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!master || ioctl(master.get(), TIOCSPTLCK, &unlock) < 0) return number(info, -errno);
  int slave = ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave < 0) return number(info, -errno);
  ends[0] = master.release();
  ends[1] = slave;
  return number(info, 0);
}

// setWindowSize(fd, columns, rows)
Napi::Value set_window_size(const Napi::CallbackInfo& info) {
  winsize size{};
  size.ws_col = static_cast<uint16_t>(integer(info, 1));
  size.ws_row = static_cast<uint16_t>(integer(info, 2));
  return number(info, ioctl(static_cast<int>(integer(info, 0)), TIOCSWINSZ, &size) < 0 ? -errno : 0);
}

// setNonblocking(fd)
Napi::Value set_nonblocking(const Napi::CallbackInfo& info) {
  int fd = static_cast<int>(integer(info, 0));
  int flags = fcntl(fd, F_GETFL);
  return number(info, flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0);
}

// describe(fd): [mode, flags, domain and type if it is a socket, label or -errno]
Napi::Value describe(const Napi::CallbackInfo& info) {
  int fd = static_cast<int>(integer(info, 0));
  struct stat about {};
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fstat(fd, &about) < 0) return number(info, -errno);
  int socket[2] = {0, 0};
  socklen_t size = sizeof(int);
  getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &socket[0], &size);
  getsockopt(fd, SOL_SOCKET, SO_TYPE, &socket[1], &size);
  // A level with each second category has 2.5 KB.
  char label[4096];
  ssize_t length = fgetxattr(fd, "security.selinux", label, sizeof label);
  int error = errno;
  Napi::Array answer = Napi::Array::New(info.Env(), 5);
  answer.Set(0u, about.st_mode);
  answer.Set(1u, flags);
  answer.Set(2u, socket[0]);
  answer.Set(3u, socket[1]);
  if (length < 0)
    answer.Set(4u, -error);
  else
    answer.Set(4u, std::string(label, strnlen(label, static_cast<size_t>(length))));
  return answer;
}

// dup(fd)
Napi::Value dup(const Napi::CallbackInfo& info) {
  int copy = fcntl(static_cast<int>(integer(info, 0)), F_DUPFD_CLOEXEC, 3);
  return number(info, copy < 0 ? -errno : copy);
}

// open(path, flags, mode): node:fs would close its descriptors again, by their numbers, when a Worker ends
Napi::Value open(const Napi::CallbackInfo& info) {
  std::string path = info[0].As<Napi::String>().Utf8Value();
  int fd = ::open(path.c_str(), static_cast<int>(integer(info, 1)) | O_CLOEXEC,
                  static_cast<mode_t>(integer(info, 2)));
  return number(info, fd < 0 ? -errno : fd);
}

// own(fd), disown(fd): whether it is to be closed when the environment ends
Napi::Value own(const Napi::CallbackInfo& info) {
  Environment::of(info.Env())->own(static_cast<int>(integer(info, 0)));
  return info.Env().Undefined();
}

Napi::Value disown(const Napi::CallbackInfo& info) {
  Environment::of(info.Env())->disown(static_cast<int>(integer(info, 0)));
  return info.Env().Undefined();
}

// close(fd)
Napi::Value close(const Napi::CallbackInfo& info) {
  Environment::of(info.Env())->disown(static_cast<int>(integer(info, 0)));
  return number(info, ::close(static_cast<int>(integer(info, 0))) < 0 ? -errno : 0);
}

// lock(fd, start, length): an exclusive lock of the open file description, at once: 0, or where the one in the way ends
Napi::Value lock(const Napi::CallbackInfo& info) {
  int fd = static_cast<int>(integer(info, 0));
  struct flock64 wanted {};
  wanted.l_type = F_WRLCK;
  wanted.l_whence = SEEK_SET;
  wanted.l_start = integer(info, 1);
  wanted.l_len = integer(info, 2);
  for (;;) {
    struct flock64 other = wanted;
    if (fcntl(fd, F_OFD_SETLK, &wanted) == 0) return number(info, 0);
    if (errno != EAGAIN || fcntl(fd, F_OFD_GETLK, &other) < 0) return number(info, -errno);
    if (other.l_type == F_UNLCK) continue;
    return number(info, other.l_len == 0 ? INFINITY : static_cast<double>(other.l_start + other.l_len));
  }
}

Napi::Object populate(Napi::Env env, Napi::Object exports) {
#define EXPORT(name, function) exports.Set(name, Napi::Function::New(env, function, name))
  EXPORT("operations", operations);
  EXPORT("init", init);
  EXPORT("spawn", spawn);
  EXPORT("kill", kill);
  EXPORT("resume", resume);
  EXPORT("pidfd", pidfd);
  EXPORT("identity", identity);
  EXPORT("ref", ref);
  EXPORT("unref", unref);
  EXPORT("poll", poll);
  EXPORT("unpoll", unpoll);
  EXPORT("bpf", bpf);
  EXPORT("call", call);
  EXPORT("pipe", pipe);
  EXPORT("socketpair", socketpair);
  EXPORT("openpty", openpty);
  EXPORT("setWindowSize", set_window_size);
  EXPORT("setNonblocking", set_nonblocking);
  EXPORT("describe", describe);
  EXPORT("dup", dup);
  EXPORT("open", open);
  EXPORT("own", own);
  EXPORT("disown", disown);
  EXPORT("close", close);
  EXPORT("pidfdOpen", pidfd::open);
  EXPORT("pidfdSendSignal", pidfd::send_signal);
  EXPORT("pidfdGetfd", pidfd::getfd);
  EXPORT("pidfdExit", pidfd::exit);
  EXPORT("connectorOpen", connector::open);
  EXPORT("connectorRead", connector::read);
  EXPORT("connectorClose", connector::close);
  EXPORT("namespaces", list_namespaces);
  EXPORT("openNamespace", nsfs::open_path);
  EXPORT("nsfs", nsfs::ask);
  EXPORT("isProcfs", ps::is_procfs);
  EXPORT("listProcesses", ps::list);
  EXPORT("readProcesses", ps::read);
  EXPORT("startOfClock", ps::start_of_clock);
  EXPORT("lsmGetSelfAttr", lsm_get_self_attr);
  EXPORT("getxattr", get_xattr);
  EXPORT("setxattr", set_xattr);
  EXPORT("relabelBegin", relabel_begin);
  EXPORT("relabelContinue", relabel_continue);
  EXPORT("relabelEnd", relabel_end);
  EXPORT("lock", lock);
#undef EXPORT
  return exports;
}

}  // namespace

NODE_API_MODULE(fancyproc, populate)
