// Who reads of thousands of processes leaves its processor every half a millisecond to those that wait for one: among them
// may be the event loop, which would else wait for the scheduler's next tick.
#ifndef FANCYPROC_TURNS_H
#define FANCYPROC_TURNS_H

#include <sched.h>

#include <chrono>

class Turns {
 public:
  void next() {
    if (Clock::now() - began_ < std::chrono::microseconds(500)) return;
    sched_yield();
    began_ = Clock::now();
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point began_ = Clock::now();
};

#endif
