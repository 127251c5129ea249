#include "bpf.h"

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "unique_fd.h"
#include "work.h"

namespace {

struct Call {
  int command;
  uint8_t* attributes;
  size_t size;
  std::vector<Napi::Reference<Napi::Uint8Array>> kept;
  int result = 0;
  UniqueFd made;  // what the result is, until somebody has it

  uint8_t* keep(Napi::Uint8Array buffer) {
    kept.push_back(Napi::Persistent(buffer));
    return buffer.Data();
  }
};

}  // namespace

Napi::Value bpf(const Napi::CallbackInfo& info) {
  auto attributes = info[1].As<Napi::Uint8Array>();
  auto buffers = info[2].As<Napi::Array>();
  auto offsets = info[3].As<Napi::Array>();
  auto call = std::make_shared<Call>();
  call->command = info[0].As<Napi::Number>().Int32Value();
  call->attributes = call->keep(attributes);
  call->size = attributes.ByteLength();
  for (uint32_t i = 0; i < buffers.Length(); i++) {
    auto address = reinterpret_cast<uint64_t>(call->keep(buffers.Get(i).As<Napi::Uint8Array>()));
    std::memcpy(call->attributes + offsets.Get(i).As<Napi::Number>().Uint32Value(), &address, sizeof address);
  }
  return queue_work(
      info.Env(),
      [call] {
        long result = syscall(SYS_bpf, call->command, call->attributes, call->size);
        call->result = result < 0 ? -errno : static_cast<int>(result);
        const bool yields_fd = call->command == BPF_PROG_LOAD || call->command == BPF_PROG_GET_FD_BY_ID;
        if (yields_fd) call->made.reset(call->result);
      },
      [call](Napi::Env env) {
        call->made.release();
        return Napi::Number::New(env, call->result);
      });
}
