// The physical limit: the system calls of an isolated launch, by hand, from a process of a few hundred KB.
//
//   limit [-puw] [-b BINDS] [-g CGROUP] [-t THREADS] ROOT PROGRAM [ARGUMENT...]
//   limit -n PROGRAM [ARGUMENT...]
//
// For each line "N" it launches PROGRAM in ROOT N times, over so many threads, waits for all exits, and prints wall-clock
// nanoseconds and microseconds of CPU; a line "+N" leaves them standing, until its input ends.
//
// -b BINDS, -u, -g CGROUP: with so many bind mounts, in a user namespace, born in a cgroup.
// -p: also what fancyproc does for every program before its first step: descriptors closed, stdin, stdout and stderr
//     placed, signals, the limit of open files, and the parent-death signal for the time of the setup.
// -w: over three threads, as for someone who must not wait himself: one clones, one watches for the exec and for the
//     exit, and tells the first, one launch at a time.
// -n: nothing but exec, without stdio: what another tool takes when no Node starts it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STACK_SIZE = 64 * 1024, MOST_THREADS = 64 };

#define CLONE_NEW \
  (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)

// native/clone3.S: glibc has no clone3.
long fp_clone3(struct clone_args* args, size_t size, int (*child)(void*), void* argument);

static const char* root;
static char** arguments;
static int user;
static int plumbing;
static int exec_only;
static int null = -1;
static long binds;
static char (*targets)[32];
static int cgroup = -1;
static long threads = 1;
static int relay;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wanted = PTHREAD_COND_INITIALIZER;
static int is_wanted;
static int watched = -1;
static int news = -1;
static int held = -1;
static atomic_long left;
static int stays;
static pid_t* standing;
static atomic_long standing_count;

static void map(const char* file, const char* text) {
  int fd = open(file, O_WRONLY);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) _exit(100);
  close(fd);
}

static void plumb(void) {
  struct sigaction none = {0};
  struct rlimit files;
  const unsigned others = (unsigned)(held < 0 ? null : held) + 1;
  if (close_range(3, (unsigned)null - 1, 0) < 0 || close_range(others, ~0u, 0) < 0) _exit(110);
  if (held > null + 1 && close_range((unsigned)null + 1, (unsigned)held - 1, 0) < 0) _exit(110);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigaction(SIGPIPE, &none, NULL);
  sigaction(SIGXFSZ, &none, NULL);
  for (int fd = 0; fd < 3; fd++)
    if (dup3(null, fd, 0) < 0) _exit(111);
  if (getrlimit(RLIMIT_NOFILE, &files) < 0) _exit(112);
  files.rlim_cur = files.rlim_max < 1024 ? files.rlim_max : 1024;
  if (setrlimit(RLIMIT_NOFILE, &files) < 0) _exit(113);
}

static void isolate(void) {
  if (user) {
    map("/proc/self/setgroups", "deny");
    map("/proc/self/uid_map", "0 0 1");
    map("/proc/self/gid_map", "0 0 1");
  }
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) _exit(101);
  if (mount(root, root, NULL, MS_BIND | MS_REC, NULL) < 0) _exit(102);
  if (chdir(root) < 0) _exit(103);
  for (long i = 0; i < binds; i++)
    if (mount("source", targets[i], NULL, MS_BIND, NULL) < 0) _exit(109);
  if (mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) _exit(104);
  if (syscall(SYS_pivot_root, ".", ".") < 0) _exit(105);
  if (umount2(".", MNT_DETACH) < 0) _exit(106);
  if (chdir("/") < 0) _exit(107);
}

static int child(void* unused) {
  (void)unused;
  char* envp[] = {NULL};
  sigset_t none;
  sigemptyset(&none);
  if (plumbing) plumb();
  for (int fd = 0; exec_only && fd < 3; fd++) dup3(null, fd, 0);
  sigprocmask(SIG_SETMASK, &none, NULL);
  if (stays) prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (!exec_only) isolate();
  if (plumbing && !stays) prctl(PR_SET_PDEATHSIG, 0);
  execve(arguments[0], arguments, exec_only ? environ : envp);
  _exit(108);
}

static void fail(const char* what) {
  fprintf(stderr, "limit: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void check(int status) {
  if (status == 0) return;
  fprintf(stderr, "limit: %s ended with status %#x\n", arguments[0], status);
  exit(1);
}

static void watch(int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  if (epoll_ctl(watched, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
}

static void launch(void* stack) {
  struct clone_args args = {0};
  int status = 0, pidfd = -1, ends[2] = {-1, -1};
  args.flags = CLONE_VM | CLONE_VFORK | (exec_only ? 0 : CLONE_NEW);
  if (user) args.flags |= CLONE_NEWUSER;
  if (cgroup >= 0) args.flags |= CLONE_INTO_CGROUP;
  args.cgroup = (uint64_t)cgroup;
  args.exit_signal = SIGCHLD;
  args.stack = (uintptr_t)stack;
  args.stack_size = STACK_SIZE;
  if (relay) {
    args.flags |= CLONE_PIDFD;
    args.pidfd = (uintptr_t)&pidfd;
    // Its other end is closed by the exec.
    if (pipe2(ends, O_CLOEXEC) < 0) fail("pipe2");
    if ((held = fcntl(ends[1], F_DUPFD_CLOEXEC, null + 1)) < 0) fail("fcntl");
    close(ends[1]);
  }
  long pid = fp_clone3(&args, sizeof args, child, NULL);
  if (pid < 0) {
    errno = (int)-pid;
    fail("clone3");
  }
  if (relay) {
    close(held);
    watch(ends[0]);
    watch(pidfd);
  } else if (stays) {
    standing[atomic_fetch_add(&standing_count, 1)] = (pid_t)pid;
  } else {
    if (waitpid((pid_t)pid, &status, 0) != pid) fail("waitpid");
    check(status);
  }
}

static void* launcher(void* stack) {
  for (;;) {
    pthread_mutex_lock(&mutex);
    while (!is_wanted) pthread_cond_wait(&wanted, &mutex);
    is_wanted = 0;
    pthread_mutex_unlock(&mutex);
    launch(stack);
  }
}

static void* watcher(void* unused) {
  (void)unused;
  struct epoll_event event;
  siginfo_t info;
  for (;;) {
    if (epoll_wait(watched, &event, 1, -1) != 1) continue;
    // Only a pidfd can be waited for.
    if (waitid(P_PIDFD, (id_t)event.data.fd, &info, WEXITED) == 0) check(info.si_status);
    close(event.data.fd);
    eventfd_write(news, 1);
  }
}

static void start_relay(void* stack) {
  pthread_t thread;
  if ((watched = epoll_create1(EPOLL_CLOEXEC)) < 0) fail("epoll_create1");
  if ((news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0) fail("eventfd");
  if (pthread_create(&thread, NULL, launcher, stack) != 0 || pthread_create(&thread, NULL, watcher, NULL) != 0)
    fail("pthread_create");
}

// The first thread, with an event loop of its own.
static void order(long count) {
  struct epoll_event event = {.events = EPOLLIN};
  int loop = epoll_create1(EPOLL_CLOEXEC);
  if (loop < 0 || epoll_ctl(loop, EPOLL_CTL_ADD, news, &event) < 0) fail("epoll_ctl");
  while (count-- > 0) {
    pthread_mutex_lock(&mutex);
    is_wanted = 1;
    pthread_mutex_unlock(&mutex);
    pthread_cond_signal(&wanted);
    eventfd_t more = 0;
    for (eventfd_t seen = 0; seen < 2; seen += more) {
      epoll_wait(loop, &event, 1, -1);
      if (eventfd_read(news, &more) < 0) more = 0;
    }
  }
  close(loop);
}

static void* run(void* stack) {
  while (atomic_fetch_sub(&left, 1) > 0) launch(stack);
  return NULL;
}

static int64_t nanoseconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static int64_t cpu(void) {
  int64_t sum = 0;
  for (int who = RUSAGE_CHILDREN; who <= RUSAGE_SELF; who++) {
    struct rusage usage;
    getrusage(who, &usage);
    sum += (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * INT64_C(1000000) + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
  }
  return sum;
}

static void serve(long count, char* stacks) {
  pthread_t others[MOST_THREADS];
  int64_t start = nanoseconds(), used = cpu();
  if (relay) {
    order(count);
  } else {
    atomic_store(&left, count);
    for (long i = 1; i < threads; i++)
      if (pthread_create(&others[i], NULL, run, stacks + i * STACK_SIZE) != 0) fail("pthread_create");
    run(stacks);
    for (long i = 1; i < threads; i++) pthread_join(others[i], NULL);
  }
  printf("%lld %lld\n", (long long)(nanoseconds() - start), (long long)(cpu() - used));
}

int main(int argc, char** argv) {
  char line[32];
  for (int option; (option = getopt(argc, argv, "+npuwb:g:t:")) != -1;) {
    if (option == 'n') exec_only = 1;
    if (option == 'p') plumbing = 1;
    if (option == 'u') user = 1;
    if (option == 'w') relay = 1;
    if (option == 'b') binds = atol(optarg);
    if (option == 't') threads = atol(optarg);
    if (option == 'g' && (cgroup = open(optarg, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0) fail(optarg);
  }
  if (optind + 2 - exec_only > argc || threads < 1 || threads > MOST_THREADS) return 2;
  root = exec_only ? "/" : argv[optind++];
  arguments = argv + optind;
  // Above the others: there is something to close below it.
  if ((null = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0) fail("/dev/null");
  if ((null = fcntl(null, F_DUPFD_CLOEXEC, 10)) < 0) fail("/dev/null");
  targets = calloc((size_t)binds + 1, sizeof *targets);
  for (long i = 0; i < binds; i++) snprintf(targets[i], sizeof *targets, "b/%ld", i);
  char* stacks = aligned_alloc(4096, (size_t)threads * STACK_SIZE);
  if (relay) start_relay(stacks);
  setvbuf(stdout, NULL, _IOLBF, 0);
  while (fgets(line, sizeof line, stdin) != NULL) {
    stays = line[0] == '+';
    if (stays && relay) return 2;
    long count = atol(line);
    if (stays) {
      long all = atomic_load(&standing_count) + count;
      standing = realloc(standing, (size_t)all * sizeof *standing);
    }
    serve(count, stacks);
  }
  for (long i = 0; i < atomic_load(&standing_count); i++) kill(standing[i], SIGKILL);
  while (waitpid(-1, NULL, 0) > 0) continue;
  return 0;
}
