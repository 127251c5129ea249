// What may wait, on libuv's pool: the promise resolves to what `finish` makes of it on JavaScript's thread.
#ifndef FANCYPROC_WORK_H
#define FANCYPROC_WORK_H

#include <napi.h>

#include <utility>

// Of a Worker that is being terminated: no JavaScript runs there any more, nothing can be made for it and nobody waits.
// That may begin at any time, so who fills what he has made looks whether he has it (NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS).
inline bool is_ending(Napi::Env env) {
  napi_value made;
  return napi_create_arraybuffer(env, 0, nullptr, &made) != napi_ok;
}

template <typename Body, typename Finish>
class Work final : public Napi::AsyncWorker {
 public:
  Work(Napi::Env env, napi_deferred deferred, Body body, Finish finish)
      : AsyncWorker(env), deferred_(deferred), body_(std::move(body)), finish_(std::move(finish)) {}

 protected:
  void Execute() override { body_(); }
  void OnOK() override {
    if (is_ending(Env())) return;
    Napi::Value value = finish_(Env());
    if (!value.IsEmpty()) napi_resolve_deferred(Env(), deferred_, value);
  }

 private:
  napi_deferred deferred_;
  Body body_;
  Finish finish_;
};

template <typename Body, typename Finish>
Napi::Promise queue_work(Napi::Env env, Body body, Finish finish) {
  napi_deferred deferred;
  napi_value promise;
  // Not Napi::Promise::Deferred, which gives what was never written when this fails.
  if (napi_create_promise(env, &deferred, &promise) != napi_ok) return {};
  (new Work<Body, Finish>(env, deferred, std::move(body), std::move(finish)))->Queue();
  return {env, promise};
}

#endif
