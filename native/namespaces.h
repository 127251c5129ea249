// Every namespace that can be found, and who holds it.
#ifndef FANCYPROC_NAMESPACES_H
#define FANCYPROC_NAMESPACES_H

#include <napi.h>

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "turns.h"
#include "unique_fd.h"

// A namespace; kinds are the CLONE_NEW* bits. Inodes are 0, and a uid is -1, where the kernel does not tell.
struct Namespace {
  struct Mount {
    int32_t pid;  // in whose view it has this path
    uint32_t mount_namespace;
    std::string path;
  };
  struct Descriptor {
    int32_t pid;
    int32_t fd;
  };
  uint32_t kind = 0;
  uint32_t inode = 0;
  uint64_t id = 0;
  uint32_t owner = 0;
  uint32_t parent = 0;
  int64_t uid = -1;
  std::vector<int32_t> pids;
  std::vector<int32_t> inner_pids;  // of a pid namespace: as its members know themselves
  std::vector<int32_t> threads;
  std::vector<Mount> mounts;
  std::vector<Descriptor> fds;
};

// One look at the machine. What ends meanwhile is left out.
class NamespaceScan {
 public:
  // Processes are always looked at.
  enum Holder : uint32_t { threads = 1, mounts = 2, fds = 4 };

  NamespaceScan(uint32_t kinds, uint32_t holders) : kinds_(kinds), holders_(holders) {}

  // Any thread; 0 or -errno.
  int run();

  std::vector<Namespace> found;

 private:
  struct Member;
  struct Held;
  struct Part;

  void walk(const std::vector<int32_t>& pids);
  void enter(const Member& member);
  void enter(const Held& held);
  void look_at_mounts();
  void look_at_mounts(uint32_t mount_namespace, int32_t pid);
  void ask_kernel();
  void ask_for_mount_namespaces();
  void translate_pids(Namespace& row, Turns& turns);

  bool wants(uint32_t kind) const { return (kinds_ & kind) != 0; }
  // Indices of rows, or -1.
  int find(uint32_t inode) const;
  int add(int fd, uint32_t inode);
  int add(Namespace row);
  uint32_t above(int fd, unsigned long request, uint32_t kind);

  const uint32_t kinds_;
  const uint32_t holders_;
  UniqueFd proc_;
  int32_t self_ = 0;  // our pid in the procfs that is mounted here
  uint32_t pid_namespace_ = 0;
  std::unordered_map<uint32_t, int> rows_;
  std::unordered_map<uint32_t, int32_t> viewers_;  // by mount namespace, a process that is in it
};

// namespaces(kinds, holders): a promise of -errno, or of lists of numbers.
Napi::Value list_namespaces(const Napi::CallbackInfo& info);

#endif
