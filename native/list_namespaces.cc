// A scan in libuv's pool, and its result as a few flat arrays: thousands of objects would hold the event loop.
#include <memory>

#include "namespaces.h"
#include "work.h"

namespace {

class Listing {
 public:
  Listing(uint32_t kinds, uint32_t holders) : scan_(kinds, holders) {}

  void run() {
    error_ = scan_.run();
    flatten();
  }

  Napi::Value result(Napi::Env env) const {
    if (error_ < 0) return Napi::Number::New(env, error_);
    auto buffer = Napi::ArrayBuffer::New(env, numbers_.size() * sizeof(double));
    if (buffer.IsEmpty()) return buffer;
    std::copy(numbers_.begin(), numbers_.end(), static_cast<double*>(buffer.Data()));
    Napi::Array paths = Napi::Array::New(env, paths_.size());
    for (uint32_t i = 0; i < paths_.size(); i++) paths.Set(i, paths_[i]);
    Napi::Object result = Napi::Object::New(env);
    result.Set("numbers", Napi::Float64Array::New(env, numbers_.size(), buffer, 0));
    result.Set("paths", paths);
    return result;
  }

 private:
  // Each row is followed by its lists; paths are apart.
  void flatten() {
    for (Namespace& row : scan_.found) {
      numbers_.insert(numbers_.end(), {double(row.kind), double(row.inode), double(row.id), double(row.owner),
                                       double(row.parent), double(row.uid)});
      append(row.pids);
      append(row.inner_pids);
      append(row.threads);
      numbers_.push_back(double(row.fds.size()));
      for (const auto& [pid, fd] : row.fds) numbers_.insert(numbers_.end(), {double(pid), double(fd)});
      numbers_.push_back(double(row.mounts.size()));
      for (auto& [pid, mount_namespace, path] : row.mounts) {
        numbers_.insert(numbers_.end(), {double(pid), double(mount_namespace)});
        paths_.push_back(std::move(path));
      }
    }
  }

  void append(const std::vector<int32_t>& list) {
    numbers_.push_back(double(list.size()));
    numbers_.insert(numbers_.end(), list.begin(), list.end());
  }

  NamespaceScan scan_;
  std::vector<double> numbers_;
  std::vector<std::string> paths_;
  int error_ = 0;
};

}  // namespace

Napi::Value list_namespaces(const Napi::CallbackInfo& info) {
  auto listing = std::make_shared<Listing>(info[0].As<Napi::Number>().Uint32Value(),
                                           info[1].As<Napi::Number>().Uint32Value());
  return queue_work(
      info.Env(), [listing] { listing->run(); }, [listing](Napi::Env env) { return listing->result(env); });
}
