#include "labels.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "unique_fd.h"
#include "work.h"

#ifndef SYS_lsm_get_self_attr
#define SYS_lsm_get_self_attr 459
#endif

namespace {

constexpr uint64_t lsm_id_selinux = 101;
constexpr uint32_t lsm_flag_single = 1;

// struct lsm_ctx of <linux/lsm.h> (6.8), with room for a page of context.
struct LsmContext {
  uint64_t id;
  uint64_t flags;
  uint64_t length;
  uint64_t context_length;
  char context[4096];
};

// A file by its path, or by a copy of a descriptor, so that the caller may close his.
struct Target {
  std::string path;
  UniqueFd fd;
  bool follow = true;

  ssize_t get(const char* name, void* value, size_t size) const {
    if (fd) return fgetxattr(fd.get(), name, value, size);
    return follow ? getxattr(path.c_str(), name, value, size) : lgetxattr(path.c_str(), name, value, size);
  }

  int set(const char* name, const std::string& value, int flags) const {
    if (fd) return fsetxattr(fd.get(), name, value.data(), value.size(), flags);
    return follow ? setxattr(path.c_str(), name, value.data(), value.size(), flags)
                  : lsetxattr(path.c_str(), name, value.data(), value.size(), flags);
  }
};

struct Request {
  Target target;
  std::string name;
  std::string value;
  int flags = 0;
  long result = 0;
};

// (target, name, follow, …)
std::shared_ptr<Request> request_of(const Napi::CallbackInfo& info) {
  auto request = std::make_shared<Request>();
  request->name = info[1].As<Napi::String>().Utf8Value();
  request->target.follow = info[2].As<Napi::Boolean>().Value();
  if (info[0].IsString()) {
    request->target.path = info[0].As<Napi::String>().Utf8Value();
  } else {
    request->target.fd.reset(fcntl(info[0].As<Napi::Number>().Int32Value(), F_DUPFD_CLOEXEC, 3));
    if (!request->target.fd) request->result = -errno;
  }
  return request;
}

}  // namespace

// lsmGetSelfAttr(attribute): SELinux's text of it, or -errno
Napi::Value lsm_get_self_attr(const Napi::CallbackInfo& info) {
  LsmContext attribute{};
  attribute.id = lsm_id_selinux;
  uint32_t size = sizeof attribute;
  uint32_t which = info[0].As<Napi::Number>().Uint32Value();
  long count = syscall(SYS_lsm_get_self_attr, which, &attribute, &size, lsm_flag_single);
  if (count < 0) return Napi::Number::New(info.Env(), -errno);
  return Napi::String::New(info.Env(), attribute.context, count == 0 ? 0 : attribute.context_length);
}

// getxattr(target, name, follow): its bytes, or -errno
Napi::Value get_xattr(const Napi::CallbackInfo& info) {
  auto request = request_of(info);
  auto execute = [request] {
    if (request->result < 0) return;
    std::vector<char> value(XATTR_SIZE_MAX);
    ssize_t length = request->target.get(request->name.c_str(), value.data(), value.size());
    request->result = length < 0 ? -errno : length;
    if (length > 0) request->value.assign(value.data(), static_cast<size_t>(length));
  };
  auto finish = [request](Napi::Env env) -> Napi::Value {
    if (request->result < 0) return Napi::Number::New(env, static_cast<double>(request->result));
    return Napi::Buffer<char>::Copy(env, request->value.data(), request->value.size());
  };
  return queue_work(info.Env(), execute, finish);
}

// setxattr(target, name, follow, value, flags): 0, or -errno
Napi::Value set_xattr(const Napi::CallbackInfo& info) {
  auto request = request_of(info);
  auto value = info[3].As<Napi::Uint8Array>();
  request->value.assign(reinterpret_cast<const char*>(value.Data()), value.ByteLength());
  request->flags = info[4].As<Napi::Number>().Int32Value();
  auto execute = [request] {
    if (request->result < 0) return;
    if (request->target.set(request->name.c_str(), request->value, request->flags) < 0)
      request->result = -errno;
  };
  auto finish = [request](Napi::Env env) -> Napi::Value {
    return Napi::Number::New(env, static_cast<double>(request->result));
  };
  return queue_work(info.Env(), execute, finish);
}
