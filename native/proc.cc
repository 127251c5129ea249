#include "proc.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>

#include "turns.h"
#include "unique_fd.h"

namespace {

// Walks over numbers that something separates.
class Numbers {
 public:
  explicit Numbers(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {}

  double next() {
    while (at_ < end_ && *at_ != '-' && (*at_ < '0' || *at_ > '9')) at_++;
    const bool negative = at_ < end_ && *at_ == '-';
    if (negative) at_++;
    uint64_t value = 0;
    while (at_ < end_ && *at_ >= '0' && *at_ <= '9') value = value * 10 + static_cast<uint64_t>(*at_++ - '0');
    return negative ? -static_cast<double>(value) : static_cast<double>(value);
  }

  void skip(int count) {
    while (count-- > 0) next();
  }

 private:
  const char* at_;
  const char* end_;
};

// Lines of /proc/PID/status, which are in the same order in all kernels: none is searched for from the start.
class Lines {
 public:
  explicit Lines(std::string_view text) : text_(text) {}

  // The rest of the line with this name, of which both newlines are part; empty if there is none.
  std::string_view find(std::string_view name) {
    size_t found = text_.find(name, at_);
    if (found == std::string_view::npos) return {};
    size_t start = found + name.size();
    size_t end = text_.find('\n', start);
    at_ = end == std::string_view::npos ? text_.size() : end;
    while (start < at_ && (text_[start] == '\t' || text_[start] == ' ')) start++;
    size_t last = at_;
    while (last > start && text_[last - 1] == ' ') last--;
    return text_.substr(start, last - start);
  }

 private:
  std::string_view text_;
  size_t at_ = 0;
};

constexpr const char* namespaces[] = {"ns/mnt", "ns/uts", "ns/ipc",    "ns/user",
                                      "ns/pid", "ns/net", "ns/cgroup", "ns/time"};

bool is_gone(int error) { return error == ENOENT || error == ESRCH; }

// Of a cmdline, and of those that are read together. A process may name any memory of its own as its arguments, also what it
// has never touched: it would cost it nothing, and us all of it. Beyond those together each gives what Linux gave before 4.2.
constexpr size_t most_arguments = 2 << 20, most_together = 8 << 20, few_arguments = 4096;

// hidepid and security modules say EPERM or EACCES.
bool is_refused(int error) { return error == EACCES || error == EPERM; }

double page_size() {
  static const auto size = static_cast<double>(sysconf(_SC_PAGESIZE));
  return size;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == '\0' || text.back() == '\n')) text.remove_suffix(1);
  return text;
}

}  // namespace

namespace proc {

void Reader::bits(uint64_t value) {
  double raw;
  std::memcpy(&raw, &value, sizeof raw);
  numbers.push_back(raw);
}

void Reader::bytes(std::string_view text) {
  heap.insert(heap.end(), text.begin(), text.end());
  number(static_cast<double>(text.size()));
}

// ENOENT is also what a kernel thread's exe gives, or a namespace that this kernel has not.
Reader::Outcome Reader::outcome(int directory, int error) {
  struct stat found;
  if (error == ESRCH) return Outcome::gone;
  if (error == ENOENT && fstatat(directory, "stat", &found, 0) < 0 && is_gone(errno)) return Outcome::gone;
  // A descriptor or memory of ours that is missing is nothing that a process says.
  if (error == EMFILE || error == ENFILE || error == ENOMEM || error == EBADF) {
    error_ = error;
    return Outcome::failed;
  }
  return Outcome::refused;
}

Reader::Outcome Reader::file(int directory, const char* name, std::string_view& text, size_t most) {
  UniqueFd fd(openat(directory, name, O_RDONLY | O_CLOEXEC));
  if (!fd) return outcome(directory, errno);
  size_t length = 0;
  for (;;) {
    // All of these give in one call what there is room for.
    const size_t room = std::min(text_.size(), most);
    ssize_t got = ::read(fd.get(), text_.data() + length, room - length);
    if (got < 0 && errno == EINTR) continue;
    // No module answers for attr/current, whoever is asked about.
    if (got < 0 && errno == EINVAL) labels_ = false;
    if (got < 0) return outcome(directory, errno);
    length += static_cast<size_t>(got);
    if (length < room || length == most) break;
    text_.resize(text_.size() * 2);
  }
  text = {text_.data(), length};
  return Outcome::read;
}

Reader::Outcome Reader::read_stat(int directory) {
  std::string_view text;
  Outcome outcome = file(directory, "stat", text);
  if (outcome != Outcome::read) return outcome;
  // The name may hold anything, also parentheses and newlines; after it there are numbers only.
  size_t open = text.find('('), close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close + 2 >= text.size())
    return Outcome::gone;
  number(text[close + 2]);  // state
  Numbers fields(text.substr(close + 3));
  for (int i = 0; i < 4; i++) number(fields.next());  // ppid, pgrp, session, tty_nr
  fields.skip(6);                                     // tpgid, flags, faults
  number(fields.next());                              // utime
  number(fields.next());                              // stime
  fields.skip(4);                                     // cutime, cstime, priority, nice
  number(fields.next());                              // num_threads
  fields.skip(1);                                     // itrealvalue
  number(fields.next());                              // starttime
  number(fields.next());                              // vsize
  number(fields.next() * page_size());                // rss
  bytes(text.substr(open + 1, close - open - 1));
  return Outcome::read;
}

Reader::Outcome Reader::read_status(int directory) {
  std::string_view text;
  Outcome outcome = file(directory, "status", text);
  if (outcome != Outcome::read) return outcome;
  Lines lines(text);
  // A thread has a directory that is not listed.
  if (Numbers(lines.find("\nTgid:")).next() != pid_) return Outcome::gone;
  for (auto name : {"\nUid:", "\nGid:"}) {
    Numbers ids(lines.find(name));
    for (int i = 0; i < 4; i++) number(ids.next());
  }
  bytes(lines.find("\nGroups:"));
  bytes(lines.find("\nNSpid:"));
  for (auto name : {"\nCapInh:", "\nCapPrm:", "\nCapEff:", "\nCapBnd:", "\nCapAmb:"}) {
    auto hex = lines.find(name);
    uint64_t set = 0;
    std::from_chars(hex.data(), hex.data() + hex.size(), set, 16);
    bits(set);
  }
  for (auto name : {"\nNoNewPrivs:", "\nSeccomp:", "\nSeccomp_filters:"}) {
    auto value = lines.find(name);
    number(value.empty() ? NAN : Numbers(value).next());
  }
  return Outcome::read;
}

Reader::Outcome Reader::read_text(int directory, const char* name) {
  std::string_view text;
  Outcome result = file(directory, name, text);
  if (result == Outcome::read) bytes(text);
  return result;
}

Reader::Outcome Reader::read_cmdline(int directory) {
  std::string_view text;
  Outcome result =
      file(directory, "cmdline", text, arguments_ < most_together ? most_arguments : few_arguments);
  if (result != Outcome::read) return result;
  arguments_ += text.size();
  bytes(text);
  return result;
}

Reader::Outcome Reader::read_label(int directory) {
  std::string_view text;
  Outcome result = labels_ ? file(directory, "attr/current", text) : Outcome::refused;
  if (result == Outcome::read) bytes(trimmed(text));
  if (result != Outcome::refused) return result;
  number(-1);
  return Outcome::read;
}

Reader::Outcome Reader::read_link(int directory, const char* name) {
  ssize_t length = readlinkat(directory, name, text_.data(), text_.size());
  if (length < 0) {
    Outcome result = outcome(directory, errno);
    if (result != Outcome::refused) return result;
    number(-1);
    return Outcome::read;
  }
  bytes({text_.data(), static_cast<size_t>(length)});
  return Outcome::read;
}

// The links read like 'mnt:[4026531840]'.
Reader::Outcome Reader::read_namespaces(int directory) {
  for (const char* name : namespaces) {
    ssize_t length = readlinkat(directory, name, text_.data(), text_.size());
    if (length < 0) {
      Outcome result = outcome(directory, errno);
      if (result != Outcome::refused) return result;
      number(NAN);
    } else {
      number(Numbers({text_.data(), static_cast<size_t>(length)}).next());
    }
  }
  return Outcome::read;
}

Reader::Outcome Reader::row(int directory) {
  Outcome outcome = Outcome::read;
  number(pid_);
  if (files_ & stat) outcome = read_stat(directory);
  if (outcome == Outcome::read && files_ & status) outcome = read_status(directory);
  if (outcome == Outcome::read && files_ & cmdline) outcome = read_cmdline(directory);
  if (outcome == Outcome::read && files_ & exe) outcome = read_link(directory, "exe");
  if (outcome == Outcome::read && files_ & cgroup) outcome = read_text(directory, "cgroup");
  if (outcome == Outcome::read && files_ & label) outcome = read_label(directory);
  if (outcome == Outcome::read && files_ & ns) outcome = read_namespaces(directory);
  return outcome;
}

int Reader::read(pid_t pid) {
  char name[16];
  *std::to_chars(name, name + sizeof name - 1, pid).ptr = '\0';
  UniqueFd directory(openat(procfs_, name, O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return is_gone(errno) || is_refused(errno) ? 0 : -errno;
  const size_t kept_numbers = numbers.size(), kept_heap = heap.size();
  pid_ = pid;
  Outcome outcome = row(directory.get());
  if (outcome == Outcome::read) {
    rows++;
    return 0;
  }
  numbers.resize(kept_numbers);
  heap.resize(kept_heap);
  return outcome == Outcome::failed ? -error_ : 0;
}

int list(int procfs, std::vector<int32_t>& pids) {
  struct Entry {
    ino64_t inode;
    off64_t next;
    unsigned short length;
    unsigned char type;
    char name[];
  };
  // An offset of its own.
  UniqueFd directory(openat(procfs, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return -errno;
  alignas(Entry) char buffer[8 << 10];
  for (Turns turns;; turns.next()) {
    long length = syscall(SYS_getdents64, directory.get(), buffer, sizeof buffer);
    if (length < 0) return -errno;
    if (length == 0) return 0;
    for (long at = 0; at < length;) {
      const auto* entry = reinterpret_cast<const Entry*>(buffer + at);
      at += entry->length;
      int32_t pid = 0;
      const char* end = entry->name + std::strlen(entry->name);
      if (auto [stop, error] = std::from_chars(entry->name, end, pid); error == std::errc() && stop == end)
        pids.push_back(pid);
    }
  }
}

}  // namespace proc
