// So many processes that wait, until standard input ends.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char** argv) {
  long count = argc > 1 ? atol(argv[1]) : 0;
  pid_t* crowd = calloc((size_t)count + 1, sizeof *crowd);
  for (long i = 0; i < count; i++) {
    crowd[i] = fork();
    if (crowd[i] < 0) {
      perror("fork");
      return 1;
    }
    if (crowd[i] == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (;;) pause();
    }
  }
  puts("there");
  fflush(stdout);
  char byte;
  while (read(0, &byte, 1) > 0) continue;
  for (long i = 0; i < count; i++) kill(crowd[i], SIGKILL);
  while (wait(NULL) > 0) continue;
  return 0;
}
