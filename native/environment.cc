#include "environment.h"

#include <cstring>

#include "child.h"

namespace {

struct Holder {
  std::shared_ptr<Environment> environment;
};

}  // namespace

std::shared_ptr<Environment> Environment::create(Napi::Env env, Napi::Function on_events) {
  auto environment = std::make_shared<Environment>();
  environment->env_ = env;
  napi_value name = Napi::String::New(env, "fancyproc");
  if (napi_create_threadsafe_function(env, on_events, nullptr, name, 0, 1, nullptr, nullptr,
                                      environment.get(), deliver, &environment->function_) != napi_ok)
    return nullptr;
  napi_unref_threadsafe_function(env, environment->function_);
  env.SetInstanceData(new Holder{environment});
  // Hooks run in reverse order: this one is added after the function's own, so it runs while that is still whole.
  env.AddCleanupHook([environment] { environment->close(); });
  return environment;
}

std::shared_ptr<Environment> Environment::of(Napi::Env env) {
  Holder* holder = env.GetInstanceData<Holder>();
  return holder == nullptr ? nullptr : holder->environment;
}

bool Environment::post(uint32_t id, EventKind kind, std::initializer_list<double> values) {
  std::lock_guard lock(mutex_);
  if (closed_) return false;
  Event event{static_cast<double>(id), static_cast<double>(kind), {}};
  size_t i = 0;
  for (double value : values) event.values[i++] = value;
  events_.push_back(event);
  // One call delivers all that has gathered by then.
  if (events_.size() == 1) napi_call_threadsafe_function(function_, this, napi_tsfn_nonblocking);
  return true;
}

void Environment::drop(const std::vector<Event>& events) {
  for (const Event& event : events)
    if (event.kind == static_cast<double>(EventKind::fd) ||
        event.kind == static_cast<double>(EventKind::data) ||
        event.kind == static_cast<double>(EventKind::label))
      ::close(static_cast<int>(event.values[1]));
}

void Environment::deliver(napi_env env, napi_value on_events, void* context, void*) {
  // Without an env the queue is only being emptied.
  if (env == nullptr) return;
  auto* self = static_cast<Environment*>(context);
  std::vector<Event> events;
  {
    std::lock_guard lock(self->mutex_);
    events.swap(self->events_);
  }
  void* data = nullptr;
  napi_value buffer, rows, receiver;
  size_t length = events.size() * sizeof(Event);
  // Of a Worker that is being terminated.
  if (napi_create_arraybuffer(env, length, &data, &buffer) != napi_ok) return drop(events);
  std::memcpy(data, events.data(), length);
  napi_create_typedarray(env, napi_float64_array, length / sizeof(double), buffer, 0, &rows);
  napi_get_undefined(env, &receiver);
  napi_call_function(env, receiver, on_events, 1, &rows, nullptr);
  // A Worker may have been ended among them: JavaScript marks those that it has looked at.
  const auto* marked = static_cast<const Event*>(data);
  std::vector<Event> unseen;
  for (size_t i = 0; i < events.size(); i++)
    if (marked[i].values[Event::seen] == 0) unseen.push_back(events[i]);
  drop(unseen);
}

void Environment::ref() {
  if (referenced_++ == 0) napi_ref_threadsafe_function(env_, function_);
}

void Environment::unref() {
  if (--referenced_ == 0) napi_unref_threadsafe_function(env_, function_);
}

void Environment::add(const std::shared_ptr<Child>& child) {
  std::lock_guard lock(mutex_);
  children_.emplace(child->id, child);
}

std::shared_ptr<Child> Environment::find(uint32_t id) {
  std::lock_guard lock(mutex_);
  auto found = children_.find(id);
  return found == children_.end() ? nullptr : found->second;
}

int Environment::poll(UniqueFd fd, uint32_t events) {
  uint32_t id = next_id();
  watcher::Watch* watch = nullptr;
  int error = watcher::poll(shared_from_this(), id, std::move(fd), events, &watch);
  if (error < 0) return error;
  polled_.emplace(id, watch);
  return static_cast<int>(id);
}

void Environment::unpoll(uint32_t id) {
  auto found = polled_.find(id);
  if (found == polled_.end()) return;
  watcher::forget(found->second);
  polled_.erase(found);
}

void Environment::remove(uint32_t id) {
  std::lock_guard lock(mutex_);
  children_.erase(id);
}

// Children go on without their environment, and the watcher reaps them; only those that wait for an answer, or
// have not begun, end.
void Environment::close() {
  std::unordered_map<uint32_t, std::shared_ptr<Child>> children;
  std::vector<Event> undelivered;
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    children.swap(children_);
    undelivered.swap(events_);
  }
  drop(undelivered);
  for (auto& [id, child] : children) child->abandon();
  for (auto& [id, watch] : polled_) watcher::forget(watch);
  polled_.clear();
  for (int fd : owned_) ::close(fd);
  owned_.clear();
  napi_release_threadsafe_function(function_, napi_tsfn_abort);
}
