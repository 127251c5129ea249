// One JavaScript environment (the main thread, a Worker): where events of its children go.
#ifndef FANCYPROC_ENVIRONMENT_H
#define FANCYPROC_ENVIRONMENT_H

#include <napi.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "watch.h"

class Child;

enum class EventKind { fd = 1, held = 2, spawn = 3, error = 4, exit = 5, data = 6, polled = 7, label = 8 };

// A row of the Float64Array that JavaScript gets: id, kind, values.
struct Event {
  static constexpr size_t values_count = 12;
  // The last value, which no event has, is JavaScript's mark.
  static constexpr size_t seen = values_count - 1;
  double id;
  double kind;
  double values[values_count];
};

class Environment : public std::enable_shared_from_this<Environment> {
 public:
  // The environment's own instance data: made once, closed when the environment ends.
  static std::shared_ptr<Environment> create(Napi::Env env, Napi::Function on_events);
  static std::shared_ptr<Environment> of(Napi::Env env);

  // Any thread. False once the environment is gone.
  bool post(uint32_t id, EventKind kind, std::initializer_list<double> values);

  // JavaScript's thread. As many as have called ref() without unref() keep the event loop alive.
  void ref();
  void unref();
  uint32_t next_id() { return ++last_id_; }
  void add(const std::shared_ptr<Child>& child);
  std::shared_ptr<Child> find(uint32_t id);
  // An id, or -errno.
  int poll(UniqueFd fd, uint32_t events);
  void unpoll(uint32_t id);
  // Descriptors that are closed when the environment ends, as its JavaScript will not do it any more.
  void own(int fd) { owned_.insert(fd); }
  void disown(int fd) { owned_.erase(fd); }

  // Any thread: the child has been reaped.
  void remove(uint32_t id);

 private:
  // Closes the descriptors in events that nobody will be told.
  static void drop(const std::vector<Event>& events);
  static void deliver(napi_env env, napi_value on_events, void* context, void* data);
  void close();

  std::mutex mutex_;
  std::vector<Event> events_;
  std::unordered_map<uint32_t, std::shared_ptr<Child>> children_;
  std::unordered_map<uint32_t, watcher::Watch*> polled_;
  std::unordered_set<int> owned_;
  napi_threadsafe_function function_ = nullptr;
  napi_env env_ = nullptr;
  uint32_t last_id_ = 0;
  uint32_t referenced_ = 0;
  bool closed_ = false;
};

#endif
