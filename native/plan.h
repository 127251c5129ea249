// The wire contract between the addon and the helper; docs/design.md explains it.
// A plan lies in one shared mapping, has offsets and no pointers, and starts with the status page.
#ifndef FANCYPROC_PLAN_H
#define FANCYPROC_PLAN_H

#include <stdint.h>

enum {
  FP_PLAN_VERSION = 1,
  FP_STATUS_SIZE = 4096,
  FP_MAX_SLOTS = 256,
  FP_MAX_ARGS = 6,
  FP_MAX_IGNORED = 4,
  FP_LABEL = 1024,        // where in the status page the label of a refused program goes
  FP_LABEL_LENGTH = 1024  // a longer one is not told
};

// Written by the helper, read by the addon once the control socket is closed.
enum fp_phase {
  FP_PHASE_CLONED = 0,    // the helper has not begun: its own exec is still ahead or has just happened
  FP_PHASE_PROLOGUE = 1,  // `step` is an fp_prologue_step
  FP_PHASE_STEPS = 2,     // `step` is the index of the step that was begun last
  FP_PHASE_EXECVE = 3,    // only execve or exit can follow
  FP_PHASE_DONE = 4,      // a plan without a program: every step has run, only exit can follow
};

enum fp_prologue_step {
  FP_PROLOGUE_CLOSE_RANGE,
  FP_PROLOGUE_PDEATHSIG,
  FP_PROLOGUE_CAPSET,
  FP_PROLOGUE_PROCFS,
  FP_PROLOGUE_SIGNALS,
  FP_PROLOGUE_SETSID,
  FP_PROLOGUE_STDIO,
  FP_PROLOGUE_TIOCSCTTY,
  FP_PROLOGUE_NOFILE,
};

struct fp_status {
  uint32_t phase;
  uint32_t step;
  int32_t error;    // errno of the call that ended it, 0 otherwise
  uint32_t call;    // which system call of a step that makes several: an index into its documented calls
  int32_t cloned;   // pid that the last `clone` step made, as its caller sees it (the kernel writes it)
  uint32_t clones;  // how many `clone` steps have been begun
  uint32_t label;   // bytes of it at FP_LABEL; 0: not known
};

// How a cell of an operation's arguments is read.
enum fp_kind {
  FP_NONE = 0,
  FP_INTEGER = 1,  // value
  FP_BYTES = 2,    // value: offset from the start of the mapping; length: without the NUL that always follows
  FP_SLOT = 3,     // value: slot filled by an earlier step
  FP_GIVEN = 4,    // value: index into the fds that the parent gave
  FP_WORDS = 5,    // like FP_BYTES, an array of uint32_t; length: in bytes
  FP_RESULT = 6,   // value: offset of an fp_result, behind the plan's own bytes; length: what it has room for
  FP_PROC = 7,     // the procfs from before the first step
};

struct fp_cell {
  uint32_t kind;
  uint32_t length;
  uint64_t value;
};

struct fp_op {
  uint16_t code;   // index into the table of operations
  uint16_t count;  // cells that follow
  int16_t slot;    // where an fd result goes, -1: nowhere
  uint16_t reserved;
  uint8_t ignored[FP_MAX_IGNORED];  // errnos that this step takes for success
  uint32_t index;                   // of the step, as the caller wrote it
  struct fp_cell cells[];
};

// Bytes for the parent, which reads them when the setup is over.
struct fp_result {
  uint64_t length;
  char bytes[];
};

struct fp_stdio {
  uint32_t target;
  uint32_t given;
};

enum fp_flags {
  FP_SETSID = 1 << 0,       // `detached`, or a pty
  FP_CTTY = 1 << 1,         // fd 0 becomes the controlling terminal
  FP_NEWUSER = 1 << 2,      // ambient and inheritable capabilities were raised to survive the helper's exec
  FP_NONDUMPABLE = 1 << 3,  // the plan joins namespaces of others
  FP_PROCFS = 1 << 4,       // some step writes below /proc/self: open it before the first step
  FP_LABELLED =
      1 << 5,  // a step sets an SELinux context, and none a seccomp filter: a refused program's label is told
};

// At FP_STATUS_SIZE in the mapping.
struct fp_plan {
  uint32_t version;
  uint32_t size;  // of the whole mapping
  uint32_t flags;
  uint32_t op_count;
  uint32_t ops;  // offset of the first fp_op; 8-aligned, each followed by the next
  uint32_t slot_count;
  uint32_t stdio;  // offset of fp_stdio[]
  uint32_t stdio_count;
  uint32_t given;  // offset of int32_t[]: filled by the addon
  uint32_t given_count;
  uint32_t file;  // offset of the program's name, 0: none, the helper exits after the last step
  uint32_t path;  // offset of PATH to search, 0: `file` holds a slash
  uint32_t argv;  // offset of uint64_t[]: offsets of strings, then 0
  uint32_t argc;
  uint32_t envp;
  uint32_t envc;
  int32_t control;       // filled by the addon: the helper's end of the control socket
  int32_t floor;         // no fd that the plan names is at or above this, except those given
  uint64_t signals_ign;  // filled by the addon: signals that the parent ignores, bit n-1 for signal n
  uint32_t session;  // how many ops come before the session and its terminal: 0, or all up to the last clone
  uint32_t result_count;
};

// Messages on the control socket (SOCK_SEQPACKET).
enum fp_message_type {
  FP_MESSAGE_FD = 1,      // helper → addon, SCM_RIGHTS: argument is the index of the name
  FP_MESSAGE_CLONED = 2,  // helper → addon, SCM_RIGHTS: pidfd of the process that goes on, from itself
  FP_MESSAGE_HELD = 3,    // helper → addon: waits for an answer; argument is the step's index
  FP_MESSAGE_RESUME = 4,  // addon → helper: argument is an errno, 0 to go on
};

struct fp_message {
  uint32_t type;
  int32_t argument;
};

#endif
