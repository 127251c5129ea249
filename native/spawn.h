// The spawner pool: threads that clone, and are parked in clone3 until the child has become the helper.
#ifndef FANCYPROC_SPAWN_H
#define FANCYPROC_SPAWN_H

#include <memory>

class Child;

namespace spawner {

// Hands a child over.
void submit(std::shared_ptr<Child> child);

// The watcher makes the threads, when it has been woken: true while some of the children wait.
bool grow();

// The watcher calls this: true while it must be called again in a moment.
bool tick();

}  // namespace spawner

#endif
