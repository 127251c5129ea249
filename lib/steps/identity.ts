// Ids: setresuid(2), setresgid(2), setgroups(2), and the maps of user_namespaces(7).
import { invalid, outOfRange, show } from '../errors.ts'
import { Step, type StepDetails } from '../step.ts'
import { id, integer, options as checkOptions } from './arguments.ts'
import { call, idName, quote } from './strace.ts'

/** `count` ids from `inside` on, in the user namespace, are those from `outside` on in the one around it. */
export interface IdRange {
  readonly inside: number
  readonly outside: number
  readonly count: number
}

const NOT_DUMPABLE =
  "the process is not dumpable, so its files in /proc are root's: it has changed its uid or joined a namespace, " +
  "after which an ordinary user can't map a user namespace that he makes"

/** Its calls, when the child writes it: through the /proc from before the first step. */
function fileCalls(file: string, text: string): StepDetails['calls'] {
  return () => [
    call('openat', '<proc>', quote(file), 'O_WRONLY|O_CLOEXEC'),
    call('write', '<openat>', quote(text), String(Buffer.byteLength(text))),
    call('close', '<openat>'),
  ]
}

/** A uid or gid map. The child writes it itself, or waits until its parent has done so. */
export class MapStep extends Step {
  get kind(): 'uid' | 'gid' {
    return this.operation === 'uid_map' ? 'uid' : 'gid'
  }

  get #text(): string {
    const [text] = this.args
    return typeof text === 'string' ? text : ''
  }

  get ranges(): readonly IdRange[] {
    const lines = this.#text.trimEnd().split('\n')
    return lines.map((line) => {
      const [inside = 0, outside = 0, count = 0] = line.split(' ').map(Number)
      return { inside, outside, count }
    })
  }

  /** The same map, written by the parent while the child waits; the number tells it which. */
  heldBy(index: number): MapStep {
    const text = this.#text
    return new MapStep(this.operation, [text, index], {
      path: this.path,
      hints: this.hints,
      calls: () => [call('write', '<openat>', quote(text), String(text.length))],
    })
  }
}

function checkRanges(value: unknown, name: string): IdRange[] {
  const list: unknown[] = Array.isArray(value) ? value : [value]
  if (list.length < 1 || list.length > 340)
    throw outOfRange(`${name}: ranges`, `expected 1 to 340 ranges, got ${String(list.length)}`)
  const ranges = list.map((item, i) => {
    const argument = Array.isArray(value) ? `${name}: ranges[${String(i)}]` : `${name}: ranges`
    if (typeof item !== 'object' || item === null) {
      throw invalid(argument, `expected {inside, outside, count}, got ${show(item)}`)
    }
    const unknown = Object.keys(item).find((key) => !['inside', 'outside', 'count'].includes(key))
    if (unknown !== undefined)
      throw invalid(`${argument}.${unknown}`, 'no such property; known are inside, outside, count')
    const { inside, outside, count } = item as Partial<IdRange>
    const range = {
      inside: id(inside, `${argument}.inside`),
      outside: id(outside, `${argument}.outside`),
      count: integer(count, `${argument}.count`, 1, 0xffff_ffff),
    }
    for (const side of ['inside', 'outside'] as const) {
      if (range[side] + range.count > 0xffff_ffff)
        throw outOfRange(`${argument}.count`, `more ids than there are from ${side} on`)
    }
    return range
  })
  for (const side of ['inside', 'outside'] as const) {
    const sorted = [...ranges].sort((a, b) => a[side] - b[side])
    for (const [i, range] of sorted.slice(1).entries()) {
      const before = sorted[i]
      if (before && before[side] + before.count > range[side]) {
        throw invalid(`${name}: ranges`, `two ranges overlap at ${side} ${String(range[side])}`)
      }
    }
  }
  return ranges
}

function mapStep(kind: 'uid' | 'gid', ranges: unknown): MapStep {
  const operation = `${kind}_map`
  const lines = checkRanges(ranges, operation).map(
    ({ inside, outside, count }) => `${[inside, outside, count].join(' ')}\n`,
  )
  const text = lines.join('')
  if (text.length >= 4096)
    throw outOfRange(`${operation}: ranges`, 'the kernel takes less than 4096 bytes of map')
  const capability = kind === 'uid' ? 'CAP_SETUID' : 'CAP_SETGID'
  const own = kind === 'uid' ? 'its own effective uid' : 'its own effective gid, after setgroupsDeny()'
  return new MapStep(operation, [text, -1], {
    path: `/proc/self/${operation}`,
    calls: fileCalls(`self/${operation}`, text),
    hints: {
      EPERM:
        `a map is written once; without ${capability} outside the namespace only one id, ${own}, ` +
        `and other ranges by new${kind}map, which /etc/sub${kind} has to allow`,
      EINVAL: 'ranges overlap, or are more than 340 (5 before Linux 4.15)',
      EACCES: NOT_DUMPABLE,
    },
  })
}

/**
 * `ssize_t write(int fd, const void *buf, size_t count)` to /proc/PID/uid_map, a line "inside outside count"
 * for each range: which uids the child's user namespace has, and what they are outside. Since Linux 3.8; up
 * to 340 ranges since 4.15.
 *
 * Acts on: the child's user namespace, which it must have been given (`namespaces:
 * ['user']`) or have made; once. Needs no privilege to map one's own effective uid; more needs CAP_SETUID
 * outside, or newuidmap and a line in /etc/subuid: then it is the parent who writes, while the child waits.
 *
 * | errno  | when |
 * |--------|------|
 * | EPERM  | written before; ids that the caller may not map |
 * | EINVAL | overlapping ranges, too many |
 * | EACCES | the child is not dumpable |
 *
 * See `man 7 user_namespaces`, `man 1 newuidmap`.
 */
export function uidMap(ranges: IdRange | readonly IdRange[]): MapStep {
  return mapStep('uid', ranges)
}

/**
 * `ssize_t write(int fd, const void *buf, size_t count)` to /proc/PID/gid_map, a line "inside outside count"
 * for each range: which gids the child's user namespace has. Since Linux 3.8.
 *
 * Acts on: the child's user namespace, once. Needs no privilege to map one's own effective
 * gid after `setgroupsDeny()`; more needs CAP_SETGID outside, or newgidmap and a line in /etc/subgid.
 *
 * | errno  | when |
 * |--------|------|
 * | EPERM  | written before; setgroups not denied; ids that the caller may not map |
 * | EINVAL | overlapping ranges, too many |
 * | EACCES | the child is not dumpable |
 *
 * See `man 7 user_namespaces`, `man 1 newgidmap`.
 */
export function gidMap(ranges: IdRange | readonly IdRange[]): MapStep {
  return mapStep('gid', ranges)
}

/**
 * `ssize_t write(int fd, const void *buf, size_t count)` to /proc/self/setgroups, "deny": no one in the
 * child's user namespace may call setgroups(2), for good. Who maps his gid without privilege has to do it
 * first, lest he drop a group that denies him access. Since Linux 3.19.
 *
 * Acts on: the child's user namespace. Needs no privilege.
 *
 * | errno  | when |
 * |--------|------|
 * | EPERM  | the gid map is written already |
 * | EACCES | the child is not dumpable |
 *
 * See `man 7 user_namespaces`.
 */
export function setgroupsDeny(): Step {
  return new Step('setgroups_deny', [], {
    path: '/proc/self/setgroups',
    calls: fileCalls('self/setgroups', 'deny'),
    hints: { EPERM: 'setgroups is denied before the gid map is written, not after', EACCES: NOT_DUMPABLE },
  })
}

/**
 * `setgroupsDeny()`, `uidMap({ inside: uid, outside: geteuid(), count: 1 })`, `gidMap({ inside: gid, outside:
 * getegid(), count: 1 })`: maps the caller's own effective ids to root's, or to those given, which is what an
 * ordinary user may do without help. Root is mapped to itself, and files that obey uid 0, such as those of /proc/sys, obey
 * it in there: have `uidMap` and `gidMap` of other ids, and take them by `setresgid` and `setresuid`. Since Linux 3.19.
 *
 * Acts on: the child's user namespace, once. Needs no privilege.
 *
 * Errnos: as for `setgroupsDeny`, `uidMap` and `gidMap`.
 *
 * See `man 7 user_namespaces`.
 */
export function mapUser(options: { uid?: number; gid?: number } = {}): Step[] {
  const { uid = 0, gid = 0 } = checkOptions<{ uid?: number; gid?: number }>(options, 'mapUser', [
    'uid',
    'gid',
  ])
  return [
    setgroupsDeny(),
    uidMap({ inside: id(uid, 'mapUser: uid'), outside: process.geteuid?.() ?? 0, count: 1 }),
    gidMap({ inside: id(gid, 'mapUser: gid'), outside: process.getegid?.() ?? 0, count: 1 }),
  ]
}

/** An id, or -1 or null for "as it is". */
export type IdOrKeep = number | null

const KEEP = 0xffff_ffff

function keepOr(value: unknown, argument: string): number {
  return value === null || value === -1 ? KEEP : id(value, argument)
}

function setres(call_: 'setresuid' | 'setresgid', ids: readonly [unknown, unknown, unknown]): Step {
  const kind = call_ === 'setresuid' ? 'uid' : 'gid'
  const [real, effective, saved] = ids
  const names = [`r${kind}`, `e${kind}`, `s${kind}`]
  // One id stands for all three: that is how one drops privilege for good.
  const all =
    effective === undefined && saved === undefined
      ? [real, real, real]
      : [real, effective ?? null, saved ?? null]
  const args = all.map((value, i) => keepOr(value, `${call_}: ${names[i] ?? kind}`))
  return new Step(call_, args, {
    calls: () => [call(call_, ...args.map(idName))],
    hints: {
      EPERM:
        `this needs CAP_SET${kind.toUpperCase()} in the current user namespace` +
        (kind === 'gid' ? ', which is gone after setresuid: put it before that' : ''),
      EINVAL: `this ${kind} has no mapping in the current user namespace`,
      EAGAIN: 'RLIMIT_NPROC of the new user is reached',
    },
  })
}

/**
 * `int setresuid(uid_t ruid, uid_t euid, uid_t suid)`: real, effective and saved uid; one argument sets all
 * three, and null (the kernel's -1) keeps what is there. From 0 to another, all capabilities are gone. Since
 * Linux 2.1.44.
 *
 * Acts on: the child; in `fancyproc/thread` one thread (the C library's function moves all). Needs
 * CAP_SETUID, except among the three that it has.
 *
 * | errno  | when |
 * |--------|------|
 * | EPERM  | no CAP_SETUID |
 * | EINVAL | not mapped in the user namespace |
 * | EAGAIN | RLIMIT_NPROC |
 *
 * See `man 2 setresuid`.
 */
export function setresuid(ruid: IdOrKeep, euid?: IdOrKeep, suid?: IdOrKeep): Step {
  return setres('setresuid', [ruid, euid, suid])
}

/**
 * `int setresgid(gid_t rgid, gid_t egid, gid_t sgid)`: real, effective and saved gid; one argument sets all
 * three, and null (the kernel's -1) keeps what is there. Supplementary groups stay: see `setgroups`. Comes
 * before `setresuid`, which gives up the privilege for it. Since Linux 2.1.44.
 *
 * Acts on: the child; in `fancyproc/thread` one thread. Needs CAP_SETGID, except among the three that it has.
 *
 * | errno  | when |
 * |--------|------|
 * | EPERM  | no CAP_SETGID |
 * | EINVAL | not mapped in the user namespace |
 *
 * See `man 2 setresgid`.
 */
export function setresgid(rgid: IdOrKeep, egid?: IdOrKeep, sgid?: IdOrKeep): Step {
  return setres('setresgid', [rgid, egid, sgid])
}

/**
 * `int setgroups(size_t size, const gid_t *list)`: the supplementary groups, all replaced; an empty list
 * drops them. Since Linux 1.0.
 *
 * Acts on: the child; in `fancyproc/thread` one thread. Needs CAP_SETGID, and a user namespace that does not
 * deny it.
 *
 * | errno  | when |
 * |--------|------|
 * | EPERM  | no CAP_SETGID; denied by /proc/PID/setgroups; no gid map yet |
 * | EINVAL | a gid has no mapping; more than 65536 |
 *
 * See `man 2 setgroups`.
 */
export function setgroups(gids: readonly number[]): Step {
  if (!Array.isArray(gids)) throw invalid('setgroups: list', `expected an array of gids, got ${show(gids)}`)
  if (gids.length > 65536) throw outOfRange('setgroups: list', 'more than 65536 groups')
  const list = Uint32Array.from(gids, (gid, i) => id(gid, `setgroups: list[${String(i)}]`))
  return new Step('setgroups', [list], {
    calls: () => [
      call('setgroups', String(list.length), list.length === 0 ? 'NULL' : `[${list.join(', ')}]`),
    ],
    hints: {
      EPERM:
        'without CAP_SETGID, or where /proc/self/setgroups says "deny" (as it must when an ordinary user maps his gid)',
      EINVAL: 'a gid of the list has no mapping in the current user namespace',
    },
  })
}
