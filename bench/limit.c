// The physical limit: the system calls of an isolated launch, by hand, from a process of a few hundred KB.
// limit ROOT PROGRAM: for every byte read it launches PROGRAM in ROOT, waits for its exit, and prints the nanoseconds.
#define _GNU_SOURCE
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NAMESPACES (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)

static const char* root;
static const char* program;
static char stack[64 * 1024] __attribute__((aligned(16)));

static int child(void* unused) {
  (void)unused;
  char* argv[] = {(char*)program, NULL};
  char* envp[] = {NULL};
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) _exit(101);
  if (mount(root, root, NULL, MS_BIND | MS_REC, NULL) < 0) _exit(102);
  if (chdir(root) < 0) _exit(103);
  if (mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) _exit(104);
  if (syscall(SYS_pivot_root, ".", ".") < 0) _exit(105);
  if (umount2(".", MNT_DETACH) < 0) _exit(106);
  if (chdir("/") < 0) _exit(107);
  execve(program, argv, envp);
  _exit(108);
}

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int main(int argc, char** argv) {
  char byte;
  if (argc != 3) return 2;
  root = argv[1];
  program = argv[2];
  setvbuf(stdout, NULL, _IOLBF, 0);
  while (read(0, &byte, 1) == 1) {
    int status = 0;
    int64_t start = now();
    pid_t pid = clone(child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | NAMESPACES | SIGCHLD, NULL);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
      fprintf(stderr, "limit: clone %d, status %d\n", (int)pid, status >> 8);
      return 1;
    }
    printf("%lld\n", (long long)(now() - start));
  }
  return 0;
}
