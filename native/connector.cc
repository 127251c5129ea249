#include "connector.h"

#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/netlink.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "unique_fd.h"

namespace {

constexpr int receive_buffer = 4 << 20;
constexpr size_t row_length = 4;
constexpr int32_t overrun = 5;

// struct cn_msg of <linux/connector.h>, without its flexible array.
struct cn_header {
  uint32_t index, value, sequence, ack;
  uint16_t length, flags;
};

// proc_event of <linux/cn_proc.h>, whose names have changed; only what is the same in all kernels.
constexpr uint32_t event_none = 0, event_fork = 1, event_exec = 2, event_exit = 0x80000000;
struct Event {
  uint32_t what, cpu;
  uint64_t timestamp;
  union {
    uint32_t error;
    struct {
      int32_t parent_pid, parent_tgid, child_pid, child_tgid;
    } fork;
    struct {
      int32_t pid, tgid;
    } exec;
    struct {
      int32_t pid, tgid;
      uint32_t code, signal;
      int32_t parent_pid, parent_tgid;
    } exit;
  };
};

struct Message {
  cn_header connector;
  Event event;
};

int integer(const Napi::CallbackInfo& info, size_t index) {
  return info[index].As<Napi::Number>().Int32Value();
}

Napi::Value number(const Napi::CallbackInfo& info, int value) { return Napi::Number::New(info.Env(), value); }

int ask(int fd, proc_cn_mcast_op operation, uint32_t mark) {
  struct {
    nlmsghdr header;
    char body[sizeof(cn_header) + sizeof operation];
  } message{};
  cn_header connector{CN_IDX_PROC, CN_VAL_PROC, 0, mark, sizeof operation, 0};
  std::memcpy(message.body, &connector, sizeof connector);
  std::memcpy(message.body + sizeof connector, &operation, sizeof operation);
  message.header.nlmsg_len = NLMSG_LENGTH(sizeof message.body);
  message.header.nlmsg_type = NLMSG_DONE;
  return send(fd, &message, message.header.nlmsg_len, 0) < 0 ? -errno : 0;
}

// One message: its length, 0 if there is none, or -errno.
ssize_t receive(int fd, Message& message) {
  constexpr size_t connector = NLMSG_HDRLEN, event = connector + sizeof(cn_header);
  for (;;) {
    char bytes[event + sizeof(Event)];
    sockaddr_nl from{};
    socklen_t length = sizeof from;
    ssize_t got =
        recvfrom(fd, bytes, sizeof bytes, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from), &length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno == EAGAIN ? 0 : -errno;
    // Others can send to a netlink socket, too.
    if (from.nl_pid != 0 || size_t(got) < event + offsetof(Event, exit)) continue;
    message = {};
    // Not aligned as its type is.
    std::memcpy(&message.connector, bytes + connector, sizeof message.connector);
    std::memcpy(&message.event, bytes + event, size_t(got) - event);
    return got;
  }
}

// The kernel answers while we send, with our mark and 1 more, to all who listen; or, outside of the initial pid and user namespaces, never.
int await_answer(int fd, uint32_t mark) {
  Message message;
  ssize_t got;
  while ((got = receive(fd, message)) > 0) {
    if (message.event.what == event_none && message.connector.ack == mark + 1)
      return -static_cast<int>(message.event.error);
  }
  // Events came before it, and too many of them: it listens.
  return got == -ENOBUFS ? 0 : got < 0 ? static_cast<int>(got) : -EAGAIN;
}

int listen() {
  UniqueFd fd(socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_CONNECTOR));
  if (!fd) return -errno;
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = CN_IDX_PROC;
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) return -errno;
  // Others than root get what net.core.rmem_max lets them have, which is twice what they had.
  if (setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer, sizeof receive_buffer) < 0)
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  uint32_t mark = 0;
  if (getrandom(&mark, sizeof mark, 0) < 0) return -errno;
  if (int error = ask(fd.get(), PROC_CN_MCAST_LISTEN, mark); error < 0) return error;
  if (int error = await_answer(fd.get(), mark); error < 0) return error;
  return fd.release();
}

// The clock of events.
double nanoseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return double(now.tv_sec) * 1e9 + double(now.tv_nsec);
}

bool decode(const Event& event, int32_t* row) {
  row[0] = row[1] = row[2] = row[3] = 0;
  if (event.what == event_fork) {
    row[0] = event.fork.child_pid == event.fork.child_tgid ? 1 : 4;
    row[1] = event.fork.child_tgid;
    row[2] = event.fork.parent_tgid;
  } else if (event.what == event_exec) {
    row[0] = 2;
    row[1] = event.exec.tgid;
  } else if (event.what == event_exit && event.exit.pid == event.exit.tgid) {
    row[0] = 3;
    row[1] = event.exit.tgid;
    row[2] = event.exit.parent_tgid;
    row[3] = static_cast<int32_t>(event.exit.code);
  }
  return row[0] != 0;
}

}  // namespace

namespace connector {

Napi::Value open(const Napi::CallbackInfo& info) { return number(info, listen()); }

Napi::Value read(const Napi::CallbackInfo& info) {
  const int fd = integer(info, 0);
  auto rows = info[1].As<Napi::Int32Array>();
  double& lost = info[2].As<Napi::Float64Array>()[0];
  size_t used = 0;
  auto add_overrun = [&] {
    rows[used] = overrun;
    used += row_length;
    lost = 0;
  };
  Message message{};
  while (used + 2 * row_length <= rows.ElementLength()) {
    ssize_t got = receive(fd, message);
    // It is said before what had come until then, and once.
    if (got == -ENOBUFS) lost = nanoseconds();
    if (got == -ENOBUFS) continue;
    if (got < 0) return number(info, static_cast<int>(got));
    if (lost != 0 && (got == 0 || double(message.event.timestamp) > lost)) add_overrun();
    if (got == 0) break;
    if (decode(message.event, rows.Data() + used)) used += row_length;
  }
  return number(info, static_cast<int>(used / row_length));
}

// Earlier kernels go on making events for a listener that has just closed its socket.
Napi::Value close(const Napi::CallbackInfo& info) {
  UniqueFd fd(integer(info, 0));
  return number(info, ask(fd.get(), PROC_CN_MCAST_IGNORE, 0));
}

}  // namespace connector
