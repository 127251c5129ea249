// /proc/PID of one process after another, as rows of numbers and a heap of bytes; lib/processes/rows.ts reads them.
#ifndef FANCYPROC_PROC_H
#define FANCYPROC_PROC_H

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace proc {

// What is read of a process. A row has the numbers of each, in this order, after the pid.
enum File : uint32_t {
  stat = 1 << 0,
  status = 1 << 1,
  cmdline = 1 << 2,
  exe = 1 << 3,
  cgroup = 1 << 4,
  label = 1 << 5,
  ns = 1 << 6,
};

// Reads processes of one procfs, each through a descriptor of its directory: that is the process's, and not its
// successor's when the pid is given to another.
class Reader {
 public:
  Reader(int procfs, uint32_t files) : procfs_(procfs), files_(files), text_(64 << 10) {}

  // Adds a row, or none if there is no such process, or none that we may see. -errno if we lack something.
  int read(pid_t pid);

  size_t rows = 0;
  std::vector<double> numbers;
  std::vector<char> heap;

 private:
  enum class Outcome { read, refused, gone, failed };

  Outcome row(int directory);
  Outcome read_stat(int directory);
  Outcome read_status(int directory);
  Outcome read_namespaces(int directory);
  Outcome read_text(int directory, const char* name);
  Outcome read_cmdline(int directory);
  Outcome read_label(int directory);
  Outcome read_link(int directory, const char* name);
  // No more than `most` bytes of it.
  Outcome file(int directory, const char* name, std::string_view& text, size_t most = SIZE_MAX);
  Outcome outcome(int directory, int error);
  void number(double value) { numbers.push_back(value); }
  void bits(uint64_t value);
  void bytes(std::string_view text);

  const int procfs_;
  const uint32_t files_;
  pid_t pid_ = 0;
  size_t arguments_ = 0;  // bytes of all cmdlines
  bool labels_ = true;    // there is a security module that has them
  int error_ = 0;
  std::vector<char> text_;
};

// The pids of a procfs, in its order.
int list(int procfs, std::vector<int32_t>& pids);

}  // namespace proc

#endif
