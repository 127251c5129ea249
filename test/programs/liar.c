// A process that says of itself what it likes: its arguments and its environment are so many bytes that it has never
// touched. liar BYTES COUNT: with COUNT children that say the same; writes a line once that is so, and waits.
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <linux/prctl.h>

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const size_t size = strtoul(argv[1], NULL, 10);
  char* lies = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (lies == MAP_FAILED) return 3;
  const uint64_t here = (uint64_t)(uintptr_t)lies, code = (uint64_t)(uintptr_t)main;
  struct prctl_mm_map map = {
      .start_code = code,
      .end_code = code + 1,
      .start_data = here,
      .end_data = here + 1,
      .start_brk = (uint64_t)(uintptr_t)sbrk(0),
      .brk = (uint64_t)(uintptr_t)sbrk(0),
      .start_stack = (uint64_t)(uintptr_t)&map,
      .arg_start = here,
      .arg_end = here + size,
      .env_start = here,
      .env_end = here + size,
      .exe_fd = (uint32_t)-1,
  };
  if (prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0) < 0) {
    perror("prctl");
    return 4;
  }
  for (long left = strtol(argv[2], NULL, 10); left > 0; left--) {
    if (fork() > 0) continue;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pause();
    return 0;
  }
  puts("ready");
  fflush(stdout);
  pause();
}
