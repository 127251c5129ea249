// Tries to get hold of every process that it sees, until SIGTERM; then says what it has got. What it gets of a program after
// its execve is that program's affair: an attack counts when what it has brought is the helper's.
//
//     attacker ADDRESS MAGIC   where in its memory the helper is, and the bytes there
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

static struct {
  long seen, ptrace, mem, vm, exe, exe_open, fd, getfd, maps;
} got;

static volatile sig_atomic_t over;
static unsigned long address;
static char magic[64];
static size_t magic_length;

static void stop(int signal) {
  (void)signal;
  over = 1;
}

static const char* at(char* path, const char* pid, const char* file) {
  snprintf(path, 300, "/proc/%s/%s", pid, file);
  return path;
}

static int is_helpers(const char* text) {
  return strstr(text, "fancyproc") != NULL || strncmp(text, "socket:", 7) == 0;
}

static int link_is_helpers(const char* path) {
  char target[4096];
  ssize_t length = readlink(path, target, sizeof target - 1);
  if (length < 0) return 0;
  target[length] = '\0';
  return is_helpers(target);
}

static int text_is_helpers(const char* path) {
  static char text[65536];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  text[length > 0 ? length : 0] = '\0';
  return strstr(text, "fancyproc") != NULL;
}

// Stopped at once: if it is the helper still, it was when it was seized. (execve lets tracers in again, to the new program, before
// it is done, so that PTRACE_EVENT_EXEC tells nothing.)
static int seize(pid_t pid) {
  char path[300], name[16];
  if (ptrace(PTRACE_SEIZE, pid, 0, 0) < 0) return 0;
  ptrace(PTRACE_INTERRUPT, pid, 0, 0);
  int helpers = 0, status;
  while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status)) {
    snprintf(name, sizeof name, "%d", (int)pid);
    helpers |= text_is_helpers(at(path, name, "comm"));
    if (ptrace(PTRACE_DETACH, pid, 0, 0) == 0) break;
  }
  return helpers;
}

static int read_memory(const char* path) {
  char bytes[64];
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t length = pread(fd, bytes, magic_length, (off_t)address);
  close(fd);
  return length == (ssize_t)magic_length && memcmp(bytes, magic, magic_length) == 0;
}

static int read_vm(pid_t pid) {
  char bytes[64];
  struct iovec local = {bytes, magic_length}, remote = {(void*)address, magic_length};
  return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)magic_length &&
         memcmp(bytes, magic, magic_length) == 0;
}

static int list_fds(const char* path) {
  char name[600];
  int helpers = 0;
  DIR* directory = opendir(path);
  if (directory == NULL) return 0;
  for (struct dirent* entry; (entry = readdir(directory)) != NULL;) {
    snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
    helpers |= link_is_helpers(name);
  }
  closedir(directory);
  return helpers;
}

static int steal_fd(pid_t pid) {
  char path[64];
  int helpers = 0, pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
  if (pidfd < 0) return 0;
  for (int number = 0; number < 64; number++) {
    int fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
    if (fd < 0) continue;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    helpers |= link_is_helpers(path);
    close(fd);
  }
  close(pidfd);
  return helpers;
}

static int open_exe(const char* path) {
  char name[64];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  int helpers = link_is_helpers(name);
  close(fd);
  return helpers;
}

static void attack(const char* name) {
  char path[300];
  pid_t pid = atoi(name);
  if (pid == getpid()) return;
  // Everybody may read its name.
  got.seen += text_is_helpers(at(path, name, "comm"));
  got.exe += link_is_helpers(at(path, name, "exe"));
  got.exe_open += open_exe(at(path, name, "exe"));
  got.mem += read_memory(at(path, name, "mem"));
  got.vm += read_vm(pid);
  got.maps += text_is_helpers(at(path, name, "maps"));
  got.fd += list_fds(at(path, name, "fd"));
  got.getfd += steal_fd(pid);
  got.ptrace += seize(pid);
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  address = strtoul(argv[1], NULL, 16);
  for (const char* hex = argv[2]; hex[0] && hex[1] && magic_length < sizeof magic; hex += 2)
    sscanf(hex, "%2hhx", (unsigned char*)&magic[magic_length++]);
  struct sigaction action = {.sa_handler = stop};
  sigaction(SIGTERM, &action, NULL);
  puts("ready");
  fflush(stdout);
  while (!over) {
    DIR* processes = opendir("/proc");
    if (processes == NULL) return 1;
    for (struct dirent* entry; !over && (entry = readdir(processes)) != NULL;)
      if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9') attack(entry->d_name);
    closedir(processes);
  }
  printf("{\"seen\":%ld,\"ptrace\":%ld,\"mem\":%ld,\"vm\":%ld,\"exe\":%ld,\"exeOpen\":%ld,\"fd\":%ld,\"getfd\":%ld,"
         "\"maps\":%ld}\n",
         got.seen, got.ptrace, got.mem, got.vm, got.exe, got.exe_open, got.fd, got.getfd, got.maps);
  return 0;
}
