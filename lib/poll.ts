// Descriptors that become ready: epoll(7), edge-triggered.
import { follow, forget, receive, reference } from './children.ts'
import { check } from './errors.ts'
import { type FdLike, fdNumber } from './fd.ts'
import { EVENT_POLLED, native } from './native.ts'

export const EPOLLIN = 1
export const EPOLLPRI = 2
export const EPOLLERR = 8
export const EPOLLHUP = 16

/**
 * Calls `notify` with the events of each time that one of these, EPOLLERR or EPOLLHUP comes; what it gives ends that. The fd
 * may be closed at once. The event loop is kept alive until then.
 */
export function poll(fd: FdLike, events: number, notify: (events: number) => void): () => void {
  const id = check(native().poll(fdNumber(fd, 'fd'), events), 'epoll_ctl')
  follow(id, {
    [receive](row) {
      if (row[1] === EVENT_POLLED) notify(row[2] ?? 0)
    },
  })
  reference(1)
  let polled = true
  return () => {
    if (!polled) return
    polled = false
    forget(id)
    native().unpoll(id)
    reference(-1)
  }
}
