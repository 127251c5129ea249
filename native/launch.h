// All that the child of clone3 reads while it shares its parent's memory: from the clone to the helper's exec.
#ifndef FANCYPROC_LAUNCH_H
#define FANCYPROC_LAUNCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct fp_launch {
  int helper;        // fd of the helper's image
  const char* path;  // its path where no memfd may be executed, else NULL
  char* const* argv;
  const int32_t* keep;  // fds to pass, CLOEXEC until then
  uint32_t keep_count;
  bool new_user;  // raise ambient capabilities, else the exec drops them
  bool is_batch;  // as the thread that clones, where the program would be SCHED_OTHER
  int32_t error;  // errno, written by the child
};

struct clone_args;
long fp_clone3(struct clone_args* args, size_t size, int (*child)(void*), void* argument);

int fp_launch_child(void* launch);

#ifdef __cplusplus
}
#endif

#endif
