// A scan in libuv's pool, and its result as a few flat arrays: thousands of objects would hold the event loop.
#include "namespaces.h"
#include "work.h"

namespace {

class Listing : public Napi::AsyncWorker {
 public:
  Listing(Napi::Env env, uint32_t kinds, uint32_t holders)
      : AsyncWorker(env, "fancyproc:namespaces"), promise(Napi::Promise::Deferred::New(env)),
        scan_(kinds, holders) {}

  const Napi::Promise::Deferred promise;

 protected:
  void Execute() override { error_ = scan_.run(); }

  void OnOK() override {
    Napi::Env env = Env();
    if (is_ending(env)) return;
    if (error_ < 0) return promise.Resolve(Napi::Number::New(env, error_));
    // Each row is followed by its lists; paths are apart.
    std::vector<double> numbers;
    Napi::Array paths = Napi::Array::New(env);
    for (const Namespace& row : scan_.found) {
      numbers.insert(numbers.end(), {double(row.kind), double(row.inode), double(row.id), double(row.owner),
                                     double(row.parent), double(row.uid)});
      append(numbers, row.pids);
      append(numbers, row.inner_pids);
      append(numbers, row.threads);
      numbers.push_back(double(row.fds.size()));
      for (const auto& [pid, fd] : row.fds) numbers.insert(numbers.end(), {double(pid), double(fd)});
      numbers.push_back(double(row.mounts.size()));
      for (const auto& [pid, mount_namespace, path] : row.mounts) {
        numbers.insert(numbers.end(), {double(pid), double(mount_namespace)});
        paths.Set(paths.Length(), path);
      }
    }
    auto buffer = Napi::ArrayBuffer::New(env, numbers.size() * sizeof(double));
    if (buffer.IsEmpty()) return;
    std::copy(numbers.begin(), numbers.end(), static_cast<double*>(buffer.Data()));
    Napi::Object result = Napi::Object::New(env);
    result.Set("numbers", Napi::Float64Array::New(env, numbers.size(), buffer, 0));
    result.Set("paths", paths);
    promise.Resolve(result);
  }

 private:
  static void append(std::vector<double>& numbers, const std::vector<int32_t>& list) {
    numbers.push_back(double(list.size()));
    numbers.insert(numbers.end(), list.begin(), list.end());
  }

  NamespaceScan scan_;
  int error_ = 0;
};

}  // namespace

Napi::Value list_namespaces(const Napi::CallbackInfo& info) {
  auto* listing = new Listing(info.Env(), info[0].As<Napi::Number>().Uint32Value(),
                              info[1].As<Napi::Number>().Uint32Value());
  listing->Queue();
  return listing->promise.Promise();
}
