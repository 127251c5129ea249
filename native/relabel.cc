// A walk over a tree that labels what it meets. Whoever lives in the tree may move things about meanwhile: each file
// is opened without following anything, and what is opened is what gets the label.
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "labels.h"
#include "unique_fd.h"
#include "work.h"

namespace {

constexpr char attribute[] = "security.selinux";
// Of directories one in another: each holds a descriptor.
constexpr size_t deepest = 512;
// Of files whose label JavaScript chooses: each holds a descriptor.
constexpr size_t batch = 128;
// A walk shares libuv's pool with others, and is cancelled between two turns.
constexpr std::chrono::milliseconds turn{100};

struct Closedir {
  void operator()(DIR* directory) const { closedir(directory); }
};

struct Directory {
  std::unique_ptr<DIR, Closedir> stream;
  std::string path;  // within the root: "" is the root's own
};

struct File {
  UniqueFd fd;
  std::string path;
  struct stat status;
  std::optional<std::string> label;
};

// setxattr(2) knows no O_PATH descriptor before 6.13, but its link in /proc leads to the file itself, a symlink too.
struct Link {
  char path[64];
  explicit Link(const UniqueFd& fd) { std::snprintf(path, sizeof path, "/proc/thread-self/fd/%d", fd.get()); }
};

std::optional<std::string> label_of(const UniqueFd& fd) {
  char label[4096];
  ssize_t length = getxattr(Link(fd).path, attribute, label, sizeof label);
  if (length < 0) return std::nullopt;
  return std::string(label, strnlen(label, static_cast<size_t>(length)));
}

class Walk {
 public:
  Walk(std::string root, std::optional<std::string> label, bool cross_mounts)
      : root_(std::move(root)), label_(std::move(label)), cross_mounts_(cross_mounts) {}

  // One turn: labels the files that the last one gave, and goes on.
  void run(const std::vector<std::optional<std::string>>& labels) {
    auto end = std::chrono::steady_clock::now() + turn;
    std::vector<File> chosen;
    chosen.swap(files);
    for (size_t i = 0; i < chosen.size(); i++) {
      if (labels[i] && !apply(chosen[i], *labels[i])) return;
    }
    if (!begun_) {
      begun_ = true;
      UniqueFd fd(open(root_.c_str(), O_PATH | O_CLOEXEC));
      if (!fd) return fail("open", "");
      if (!visit(std::move(fd), "")) return;
    }
    while (!directories_.empty()) {
      if (files.size() >= batch || std::chrono::steady_clock::now() > end) return;
      if (!next()) return;
    }
    done = files.empty();
  }

  void end() {
    directories_.clear();
    files.clear();
  }

  double seen = 0, changed = 0, mounts = 0;
  bool done = false;
  std::vector<File> files;  // that wait for a label
  int error = 0;
  const char* call = "";
  std::string path;  // of the error

 private:
  void fail(const char* what, const std::string& where) {
    error = errno;
    call = what;
    path = root_ + where;
    end();
  }

  bool failed(const char* what, const std::string& where) {
    fail(what, where);
    return false;
  }

  bool next() {
    Directory& directory = directories_.back();
    errno = 0;
    const dirent* entry = readdir(directory.stream.get());
    if (entry == nullptr) {
      if (errno != 0) return failed("getdents64", directory.path);
      directories_.pop_back();
      return true;
    }
    if (std::strcmp(entry->d_name, ".") == 0 || std::strcmp(entry->d_name, "..") == 0) return true;
    std::string path = directory.path + "/" + entry->d_name;
    open_how how{};
    how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | (cross_mounts_ ? 0 : RESOLVE_NO_XDEV);
    int parent = dirfd(directory.stream.get());
    UniqueFd fd(static_cast<int>(syscall(SYS_openat2, parent, entry->d_name, &how, sizeof how)));
    if (fd) return visit(std::move(fd), std::move(path));
    if (errno == EXDEV) {
      mounts++;
      return true;
    }
    return errno == ENOENT || failed("openat2", path);
  }

  bool visit(UniqueFd fd, std::string where) {
    File file{std::move(fd), std::move(where), {}, std::nullopt};
    if (fstat(file.fd.get(), &file.status) < 0) return failed("fstat", file.path);
    seen++;
    file.label = label_of(file.fd);
    if (S_ISDIR(file.status.st_mode) && !enter(file)) return false;
    if (label_) return apply(file, *label_);
    files.push_back(std::move(file));
    return true;
  }

  bool enter(const File& file) {
    if (directories_.size() >= deepest) {
      errno = EMFILE;
      return failed("openat", file.path);
    }
    UniqueFd fd(openat(file.fd.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    DIR* stream = fd ? fdopendir(fd.get()) : nullptr;
    // Removed since.
    if (stream == nullptr) return errno == ENOENT || failed("openat", file.path);
    fd.release();
    directories_.push_back({std::unique_ptr<DIR, Closedir>(stream), file.path});
    return true;
  }

  bool apply(const File& file, const std::string& label) {
    if (file.label == label) return true;
    // With the NUL, as libselinux writes it.
    if (setxattr(Link(file.fd).path, attribute, label.c_str(), label.size() + 1, 0) < 0)
      return failed("setxattr", file.path);
    changed++;
    return true;
  }

  const std::string root_;
  const std::optional<std::string> label_;
  const bool cross_mounts_;
  bool begun_ = false;
  std::vector<Directory> directories_;
};

using Shared = std::shared_ptr<Walk>;

std::optional<std::string> text(Napi::Value value) {
  if (!value.IsString()) return std::nullopt;
  return value.As<Napi::String>().Utf8Value();
}

// [path, label or null, mode, uid, gid, size, dev, ino, nlink]
Napi::Value row(Napi::Env env, const File& file) {
  const struct stat& status = file.status;
  const double numbers[] = {
      double(status.st_mode), double(status.st_uid), double(status.st_gid),   double(status.st_size),
      double(status.st_dev),  double(status.st_ino), double(status.st_nlink),
  };
  Napi::Array values = Napi::Array::New(env);
  values.Set(0u, file.path.empty() ? "/" : file.path);
  values.Set(1u, file.label ? Napi::String::New(env, *file.label).As<Napi::Value>() : env.Null());
  uint32_t i = 2;
  for (double number : numbers) values.Set(i++, number);
  return values;
}

}  // namespace

// relabelBegin(root, label or null, crossMounts): the walk
Napi::Value relabel_begin(const Napi::CallbackInfo& info) {
  auto walk = std::make_shared<Walk>(info[0].As<Napi::String>().Utf8Value(), text(info[1]),
                                     info[2].As<Napi::Boolean>().Value());
  return Napi::External<Shared>::New(info.Env(), new Shared(walk),
                                     [](Napi::Env, Shared* data) { delete data; });
}

// relabelContinue(walk, labels): [-errno, call, path, done, seen, changed, mounts, rows]
Napi::Value relabel_continue(const Napi::CallbackInfo& info) {
  Shared walk = *info[0].As<Napi::External<Shared>>().Data();
  auto given = info[1].As<Napi::Array>();
  std::vector<std::optional<std::string>> labels;
  for (uint32_t i = 0; i < given.Length(); i++) labels.push_back(text(given[i]));
  auto execute = [walk, labels = std::move(labels)] { walk->run(labels); };
  auto finish = [walk](Napi::Env env) -> Napi::Value {
    Napi::Array rows = Napi::Array::New(env, walk->files.size());
    for (uint32_t i = 0; i < walk->files.size(); i++) rows.Set(i, row(env, walk->files[i]));
    Napi::Array answer = Napi::Array::New(env, 8);
    answer.Set(0u, -walk->error);
    answer.Set(1u, walk->call);
    answer.Set(2u, walk->path);
    answer.Set(3u, Napi::Boolean::New(env, walk->done));
    answer.Set(4u, walk->seen);
    answer.Set(5u, walk->changed);
    answer.Set(6u, walk->mounts);
    answer.Set(7u, rows);
    return answer;
  };
  return queue_work(info.Env(), std::move(execute), std::move(finish));
}

// relabelEnd(walk): closes what it holds, between two turns
Napi::Value relabel_end(const Napi::CallbackInfo& info) {
  (*info[0].As<Napi::External<Shared>>().Data())->end();
  return info.Env().Undefined();
}
