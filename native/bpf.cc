#include "bpf.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace {

class Call final : public Napi::AsyncWorker {
 public:
  Call(Napi::Env env, int command, Napi::Uint8Array attributes)
      : AsyncWorker(env, "fancyproc:bpf"),
        command_(command),
        attributes_(attributes.Data()),
        size_(attributes.ByteLength()),
        deferred_(env) {
    keep(attributes);
  }

  void point(uint32_t offset, Napi::Uint8Array buffer) {
    auto address = reinterpret_cast<uint64_t>(buffer.Data());
    std::memcpy(attributes_ + offset, &address, sizeof address);
    keep(buffer);
  }

  Napi::Value start() {
    Queue();
    return deferred_.Promise();
  }

 private:
  void keep(Napi::Uint8Array buffer) { kept_.push_back(Napi::Persistent(buffer)); }
  void Execute() final {
    long result = syscall(SYS_bpf, command_, attributes_, size_);
    result_ = result < 0 ? -errno : static_cast<int>(result);
  }
  void OnOK() final { deferred_.Resolve(Napi::Number::New(Env(), result_)); }

  int command_;
  uint8_t* attributes_;
  size_t size_;
  std::vector<Napi::Reference<Napi::Uint8Array>> kept_;
  Napi::Promise::Deferred deferred_;
  int result_ = 0;
};

}  // namespace

Napi::Value bpf(const Napi::CallbackInfo& info) {
  auto buffers = info[2].As<Napi::Array>();
  auto offsets = info[3].As<Napi::Array>();
  auto* call = new Call(info.Env(), info[0].As<Napi::Number>().Int32Value(), info[1].As<Napi::Uint8Array>());
  for (uint32_t i = 0; i < buffers.Length(); i++)
    call->point(offsets.Get(i).As<Napi::Number>().Uint32Value(), buffers.Get(i).As<Napi::Uint8Array>());
  return call->start();
}
