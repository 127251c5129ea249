// Writes the time of its end into the file that is its stdout, CLOCK_MONOTONIC in nanoseconds, and ends. Static.
#include <stdint.h>
#include <time.h>
#include <unistd.h>

int main(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  int64_t now = (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
  _exit(pwrite(1, &now, sizeof now, 0) == sizeof now ? 0 : 1);
}
