#include "namespaces.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "nsfs.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

namespace {

struct Kind {
  uint32_t flag;
  const char* name;
};

constexpr Kind kinds[] = {
    {CLONE_NEWNS, "mnt"},  {CLONE_NEWUTS, "uts"}, {CLONE_NEWIPC, "ipc"},       {CLONE_NEWUSER, "user"},
    {CLONE_NEWPID, "pid"}, {CLONE_NEWNET, "net"}, {CLONE_NEWCGROUP, "cgroup"}, {CLONE_NEWTIME, "time"},
};
constexpr size_t kind_count = sizeof kinds / sizeof *kinds;
constexpr size_t mnt = 0;

// Where children of a thread will be, though it may not be there itself.
constexpr Kind kinds_of_children[] = {{CLONE_NEWPID, "pid_for_children"},
                                      {CLONE_NEWTIME, "time_for_children"}};

constexpr size_t chunk = 32;
constexpr size_t worth_a_thread = 256;
constexpr size_t most_threads = 4;

const Kind* kind_named(const char* name, size_t length) {
  for (const Kind& kind : kinds)
    if (std::strlen(kind.name) == length && std::memcmp(kind.name, name, length) == 0) return &kind;
  return nullptr;
}

// 'net:[4026531840]'
uint32_t inode_in(const char* text) {
  const char* bracket = std::strchr(text, '[');
  return bracket == nullptr ? 0 : static_cast<uint32_t>(std::strtoul(bracket + 1, nullptr, 10));
}

// Reading the link is half the price of stat, which makes an inode, and a fifth of opening by pidfd.
uint32_t read_inode(int directory, const char* name) {
  char text[64];
  ssize_t length = readlinkat(directory, name, text, sizeof text - 1);
  if (length <= 0) return 0;
  text[length] = '\0';
  return inode_in(text);
}

UniqueFd directory_at(int parent, const char* path) {
  return UniqueFd(openat(parent, path, O_PATH | O_DIRECTORY | O_CLOEXEC));
}

// Calls with each entry whose name is a number.
template <typename Each>
int each_number(int parent, const char* path, Each each) {
  UniqueFd fd(openat(parent, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return -errno;
  DIR* directory = fdopendir(fd.get());
  if (directory == nullptr) return -errno;
  fd.release();
  while (const dirent* entry = readdir(directory)) {
    char* end;
    long number = std::strtol(entry->d_name, &end, 10);
    if (end != entry->d_name && *end == '\0') each(static_cast<int32_t>(number));
  }
  closedir(directory);
  return 0;
}

std::string read_file(int directory, const char* path) {
  UniqueFd fd(openat(directory, path, O_RDONLY | O_CLOEXEC));
  std::string text;
  char buffer[32768];
  for (ssize_t length; fd && (length = read(fd.get(), buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<size_t>(length));
  return text;
}

// Space, tab, newline and backslash are octal in mountinfo.
std::string unescape(const char* begin, const char* end) {
  std::string text;
  for (const char* at = begin; at < end; at++) {
    if (*at == '\\' && end - at > 3) {
      text += static_cast<char>((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0'));
      at += 3;
    } else {
      text += *at;
    }
  }
  return text;
}

struct Path {
  char text[64];
  template <typename... Args>
  explicit Path(const char* format, Args... args) {
    std::snprintf(text, sizeof text, format, args...);
  }
  operator const char*() const { return text; }
};

}  // namespace

// A process or thread, with the inodes of what it is in; 0 for what may not be seen.
struct NamespaceScan::Member {
  int32_t pid;
  uint32_t inodes[kind_count];
};

// By a thread, or by an fd of a process; the other one is -1.
struct NamespaceScan::Held {
  int32_t pid, thread, fd;
  uint32_t inode;
  std::string path;  // below /proc
};

// A thread's share of the walk.
struct NamespaceScan::Part {
  const NamespaceScan& scan;
  std::vector<Member>& members;
  std::atomic<size_t>& next;
  std::vector<Held> held;
  Turns turns;
  pthread_t thread;
  bool started = false;

  void run() {
    for (size_t begin; (begin = next.fetch_add(chunk)) < members.size();)
      for (size_t i = begin; i < std::min(begin + chunk, members.size()); i++) {
        look(members[i]);
        turns.next();
      }
  }

  void look(Member& member) {
    UniqueFd directory = directory_at(scan.proc_.get(), Path("%d/ns", member.pid));
    for (size_t i = 0; directory && i < kind_count; i++)
      if (scan.wants(kinds[i].flag) || (i == mnt && (scan.holders_ & mounts)))
        member.inodes[i] = read_inode(directory.get(), kinds[i].name);
    if (scan.holders_ & threads) look_at_threads(member);
    if (scan.holders_ & fds) look_at_fds(member.pid);
  }

  void look_at_threads(const Member& member) {
    each_number(scan.proc_.get(), Path("%d/task", member.pid), [&](int32_t thread) {
      Path path("%d/task/%d/ns", member.pid, thread);
      UniqueFd directory = directory_at(scan.proc_.get(), path);
      if (!directory) return;
      for (size_t i = 0; thread != member.pid && i < kind_count; i++)
        if (scan.wants(kinds[i].flag)) note(member, thread, directory.get(), path, kinds[i].name);
      for (const Kind& kind : kinds_of_children)
        if (scan.wants(kind.flag)) note(member, thread, directory.get(), path, kind.name);
    });
  }

  // Only where it differs from its process.
  void note(const Member& member, int32_t thread, int directory, const char* path, const char* name) {
    uint32_t inode = read_inode(directory, name);
    if (inode == 0 ||
        std::find(member.inodes, member.inodes + kind_count, inode) != member.inodes + kind_count)
      return;
    held.push_back({member.pid, thread, -1, inode, std::string(path) + "/" + name});
  }

  void look_at_fds(int32_t pid) {
    Path path("%d/fd", pid);
    UniqueFd directory = directory_at(scan.proc_.get(), path);
    if (!directory) return;
    each_number(directory.get(), ".", [&](int32_t fd) {
      char text[64];
      ssize_t length = readlinkat(directory.get(), Path("%d", fd), text, sizeof text - 1);
      if (length <= 0) return;
      text[length] = '\0';
      const char* bracket = std::strstr(text, ":[");
      if (bracket == nullptr) return;
      const Kind* kind = kind_named(text, static_cast<size_t>(bracket - text));
      if (kind != nullptr && scan.wants(kind->flag))
        held.push_back({pid, -1, fd, inode_in(text), std::string(path) + "/" + std::to_string(fd)});
    });
  }
};

int NamespaceScan::run() {
  proc_.reset(open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!proc_) return -errno;
  char text[16]{};
  if (readlinkat(proc_.get(), "self", text, sizeof text - 1) > 0) self_ = std::atoi(text);
  pid_namespace_ = read_inode(proc_.get(), "self/ns/pid");
  std::vector<int32_t> pids;
  int error = each_number(proc_.get(), ".", [&](int32_t pid) { pids.push_back(pid); });
  if (error < 0) return error;
  walk(pids);
  if (holders_ & mounts) look_at_mounts();
  ask_kernel();
  Turns turns;
  for (Namespace& row : found)
    if (row.kind == CLONE_NEWPID) translate_pids(row, turns);
  return 0;
}

void NamespaceScan::walk(const std::vector<int32_t>& pids) {
  std::vector<Member> members;
  members.reserve(pids.size());
  for (int32_t pid : pids) members.push_back({pid, {}});

  std::atomic<size_t> next{0};
  cpu_set_t cpus;
  size_t cores = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? static_cast<size_t>(CPU_COUNT(&cpus)) : 1;
  size_t count = std::min({most_threads, cores, 1 + members.size() / worth_a_thread});
  std::vector<Part> parts;
  for (size_t i = 0; i < count; i++) parts.push_back({*this, members, next, {}, {}, {}});
  auto run = [](void* part) -> void* {
    static_cast<Part*>(part)->run();
    return nullptr;
  };
  // Where no thread can be made, the others have more to do.
  for (size_t i = 1; i < count; i++)
    parts[i].started = pthread_create(&parts[i].thread, nullptr, run, &parts[i]) == 0;
  parts[0].run();
  for (Part& part : parts)
    if (part.started) pthread_join(part.thread, nullptr);

  for (const Member& member : members) enter(member);
  for (const Part& part : parts)
    for (const Held& held : part.held) enter(held);
}

void NamespaceScan::enter(const Member& member) {
  for (size_t i = 0; i < kind_count; i++) {
    const uint32_t inode = member.inodes[i];
    if (inode == 0) continue;
    if (i == mnt && (member.pid == self_ || viewers_.count(inode) == 0)) viewers_[inode] = member.pid;
    if (!wants(kinds[i].flag)) continue;
    int row = find(inode);
    if (row < 0) {
      UniqueFd fd(openat(proc_.get(), Path("%d/ns/%s", member.pid, kinds[i].name), O_RDONLY | O_CLOEXEC));
      if (fd && nsfs::inode(fd.get()) == inode) row = add(fd.get(), inode);
    }
    if (row >= 0) found[row].pids.push_back(member.pid);
  }
}

void NamespaceScan::enter(const Held& held) {
  int row = find(held.inode);
  if (row < 0) {
    UniqueFd fd(nsfs::open(proc_.get(), held.path.c_str()));
    if (fd && nsfs::inode(fd.get()) == held.inode) row = add(fd.get(), held.inode);
  }
  if (row < 0) return;
  if (held.fd >= 0)
    found[row].fds.push_back({held.pid, held.fd});
  else
    found[row].threads.push_back(held.thread);
}

int NamespaceScan::find(uint32_t inode) const {
  auto row = rows_.find(inode);
  return row == rows_.end() ? -1 : row->second;
}

// A row for an open namespace, and for those above it.
int NamespaceScan::add(int fd, uint32_t inode) {
  Namespace row;
  row.kind = static_cast<uint32_t>(ioctl(fd, nsfs::get_nstype));
  row.inode = inode;
  row.id = nsfs::id(fd, row.kind == CLONE_NEWNS);
  uid_t uid;
  if (row.kind == CLONE_NEWUSER && ioctl(fd, nsfs::get_owner_uid, &uid) == 0) row.uid = uid;
  row.owner = above(fd, nsfs::get_userns, CLONE_NEWUSER);
  if (row.kind == CLONE_NEWUSER) row.parent = row.owner;
  if (row.kind == CLONE_NEWPID) row.parent = above(fd, nsfs::get_parent, CLONE_NEWPID);
  return add(std::move(row));
}

int NamespaceScan::add(Namespace row) {
  const int index = static_cast<int>(found.size());
  rows_[row.inode] = index;
  found.push_back(std::move(row));
  return index;
}

// 0 for the first of its kind, and for what lies outside of the caller's own.
uint32_t NamespaceScan::above(int fd, unsigned long request, uint32_t kind) {
  UniqueFd other(ioctl(fd, request));
  if (!other) return 0;
  uint32_t inode = nsfs::inode(other.get());
  if (wants(kind) && find(inode) < 0) add(other.get(), inode);
  return inode;
}

void NamespaceScan::look_at_mounts() {
  for (const auto& [mount_namespace, pid] : viewers_) look_at_mounts(mount_namespace, pid);
}

void NamespaceScan::look_at_mounts(uint32_t mount_namespace, int32_t pid) {
  const std::string text = read_file(proc_.get(), Path("%d/mountinfo", pid));
  for (size_t at = 0; (at = text.find(" - nsfs ", at)) != std::string::npos; at++) {
    // id parent device ROOT MOUNTPOINT …
    size_t field = text.rfind('\n', at) + 1;
    for (int i = 0; i < 3; i++) field = text.find(' ', field) + 1;
    const size_t point = text.find(' ', field) + 1;
    const Kind* kind = kind_named(&text[field], text.find(':', field) - field);
    if (kind == nullptr || !wants(kind->flag)) continue;
    const uint32_t inode = inode_in(&text[field]);
    std::string path = unescape(&text[point], &text[text.find(' ', point)]);
    int row = find(inode);
    if (row < 0) {
      UniqueFd fd(nsfs::open(proc_.get(), (std::to_string(pid) + "/root" + path).c_str()));
      if (fd && nsfs::inode(fd.get()) == inode) row = add(fd.get(), inode);
    }
    if (row < 0) {
      // Something else is mounted over it.
      Namespace hidden;
      hidden.kind = kind->flag;
      hidden.inode = inode;
      row = add(std::move(hidden));
    }
    found[row].mounts.push_back({pid, mount_namespace, std::move(path)});
  }
}

// What nobody that may be looked at holds.
void NamespaceScan::ask_kernel() {
  std::vector<uint64_t> ids(16384);
  std::unordered_map<uint64_t, bool> known;
  for (const Namespace& row : found) known[row.id] = true;
  uint64_t last = 0;
  for (long count = 1; count > 0; last = ids[static_cast<size_t>(count) - 1]) {
    count = nsfs::list(kinds_, last, ids.data(), static_cast<uint32_t>(ids.size()));
    if (count <= 0) break;
    for (long i = 0; i < count; i++) {
      if (known.count(ids[i]) > 0) continue;
      UniqueFd fd = nsfs::open_id(ids[i]);
      uint32_t inode = fd ? nsfs::inode(fd.get()) : 0;
      if (inode != 0 && find(inode) < 0) add(fd.get(), inode);
    }
    if (static_cast<size_t>(count) < ids.size()) return;
  }
  if (last == 0 && wants(CLONE_NEWNS)) ask_for_mount_namespaces();
}

// Before listns(2), it can be asked for one kind only, and by root.
void NamespaceScan::ask_for_mount_namespaces() {
  for (unsigned long request : {nsfs::mnt_get_next, nsfs::mnt_get_prev}) {
    UniqueFd fd(openat(proc_.get(), "self/ns/mnt", O_RDONLY | O_CLOEXEC));
    uint64_t info[2];
    for (int next; fd && (next = ioctl(fd.get(), request, info)) >= 0;) {
      fd.reset(next);
      uint32_t inode = nsfs::inode(next);
      if (inode != 0 && find(inode) < 0) add(next, inode);
    }
  }
}

void NamespaceScan::translate_pids(Namespace& row, Turns& turns) {
  // This procfs may be of another pid namespace than we are in.
  const bool ours = self_ == getpid();
  if (ours && row.inode == pid_namespace_) {
    row.inner_pids = row.pids;
    return;
  }
  std::vector<int32_t> pids;
  UniqueFd fd;
  if (ours && !row.pids.empty()) fd.reset(nsfs::open(proc_.get(), Path("%d/ns/pid", row.pids.front())));
  if (fd && nsfs::inode(fd.get()) != row.inode) fd.reset();
  for (int32_t pid : row.pids) {
    turns.next();
    int inner = fd ? ioctl(fd.get(), nsfs::get_tgid_in_pidns, pid) : -1;
    if (inner < 0) {
      const std::string status = read_file(proc_.get(), Path("%d/status", pid));
      const size_t begin = status.find("\nNSpid:"), end = status.find('\n', begin + 1);
      if (begin == std::string::npos || end == std::string::npos) continue;
      inner = std::atoi(&status[status.rfind('\t', end) + 1]);
    }
    pids.push_back(pid);
    row.inner_pids.push_back(inner);
  }
  row.pids = std::move(pids);
}
