// The interface files of cgroup v2, each with its format. Units stand in the comments; files that came after
// Linux 5.10 say with which kernel.
import {
  changes,
  counter,
  flag,
  ids,
  integer,
  limit,
  names,
  percentage,
  type Readable,
  set,
  settableSet,
  trigger,
  word,
  type Writable,
} from './formats.ts'
import {
  bandwidth,
  counters,
  limits,
  nested,
  nestedLimits,
  pairs,
  perDevice,
  type Pressure,
  pressure,
  settings,
  traffic,
  weights,
} from './keyed.ts'

function since<Format extends object>(kernel: string, format: Format): Format & { readonly since: string } {
  return { ...format, since: kernel }
}

const bytes = limit('bytes')
const memoryEvents = counters(['low', 'high', 'max', 'oom', 'oom_kill'], ['oom_group_kill'])
const someAndFull = pressure<Record<'some' | 'full', Pressure>>()

/** Rows in the order of Documentation/admin-guide/cgroup-v2. `<size>` is that of a huge page: 2MB, 1GB. */
export const files = {
  /** 'threaded' makes it a member of a threaded subtree, for good. Not in the root. */
  'cgroup.type': word<'domain' | 'domain threaded' | 'domain invalid' | 'threaded', 'threaded'>(['threaded']),
  /** Pids of the processes in this very cgroup; writing one moves it, with all its threads. */
  'cgroup.procs': ids,
  /** Ids of the threads in this very cgroup; writing one moves it within its threaded subtree. */
  'cgroup.threads': ids,
  /** Controllers that it has, and may enable for those below. */
  'cgroup.controllers': names,
  /** Controllers that are enabled for those below: `['+pids', '-io']`. */
  'cgroup.subtree_control': changes,
  /** populated: a live process here or below; frozen: all have stopped. 0 or 1. */
  'cgroup.events': counters(['populated', 'frozen']),
  /** How many cgroups there may be below. */
  'cgroup.max.descendants': limit('a count', 0, 2 ** 31 - 1),
  /** How deep they may be nested. */
  'cgroup.max.depth': limit('a count', 0, 2 ** 31 - 1),
  /** Cgroups below, those that are removed but still held, and of each how many by controller. */
  'cgroup.stat': counters(['nr_descendants', 'nr_dying_descendants']),
  /** µs that it was frozen. */
  'cgroup.stat.local': since('6.18', counters(['frozen_usec'])),
  /** Stops all processes here and below; see `freeze()`. */
  'cgroup.freeze': flag,
  /** SIGKILL to all processes here and below. Write only. */
  'cgroup.kill': since('5.14', trigger),
  /** Whether PSI is counted for it. */
  'cgroup.pressure': since('6.1', flag),
  /** Time lost to interrupts: only `full`. */
  'irq.pressure': since('6.1', pressure<{ full: Pressure }>()),

  /** µs of processor time; periods, throttled ones and µs in them, where the controller is enabled. */
  'cpu.stat': counters(
    ['usage_usec', 'user_usec', 'system_usec'],
    ['nice_usec', 'nr_periods', 'nr_throttled', 'throttled_usec', 'nr_bursts', 'burst_usec'],
  ),
  /** µs that its own tasks were throttled, where the controller is enabled. */
  'cpu.stat.local': since('6.6', counters([], ['throttled_usec'])),
  /** Share among its siblings, 1 to 10000; 100 unless set. */
  'cpu.weight': integer('a weight', 1, 10_000),
  /** The same, as nice(2) has it: -20 to 19. */
  'cpu.weight.nice': integer('a nice value', -20, 19),
  /** µs of processor time in each period: `{ quota: 20_000, period: 100_000 }` is a fifth of one processor. */
  'cpu.max': bandwidth,
  /** µs beyond the quota that it may use up of what earlier periods have left; at most the quota. */
  'cpu.max.burst': since('5.14', integer('µs', 0)),
  /** SCHED_IDLE for the whole cgroup: it runs when nobody else wants to. */
  'cpu.idle': since('5.15', flag),
  /** Waiting for a processor. `full` since 5.13. */
  'cpu.pressure': pressure<{ some: Pressure; full?: Pressure }>(),
  /** Least processor frequency for its tasks, per cent with two decimals. CONFIG_UCLAMP_TASK_GROUP. */
  'cpu.uclamp.min': percentage,
  /** Highest processor frequency for its tasks, per cent with two decimals. CONFIG_UCLAMP_TASK_GROUP. */
  'cpu.uclamp.max': percentage,

  /** Bytes, with all below. */
  'memory.current': counter,
  /** Bytes that are never reclaimed; rounded down to pages, as all limits of memory. */
  'memory.min': bytes,
  /** Bytes that are reclaimed only if nothing else is left. */
  'memory.low': bytes,
  /** Bytes above which its tasks are slowed down and reclaim. */
  'memory.high': bytes,
  /** Bytes that are never exceeded: the OOM killer comes. */
  'memory.max': bytes,
  /** Reclaims so many bytes. EAGAIN: it were fewer. Write only. */
  'memory.reclaim': since('5.19', { format: integer('bytes', 0).format }),
  /** The most bytes it ever had. */
  'memory.peak': since('5.19', counter),
  /** Whether the OOM killer takes all of it, or one process. */
  'memory.oom.group': flag,
  /** How often a limit was hit, here and below. */
  'memory.events': memoryEvents,
  /** How often a limit was hit, of this very cgroup. */
  'memory.events.local': memoryEvents,
  /** What the memory is: bytes, and counts of events (pg*, workingset_*, thp_*). */
  'memory.stat': counters(
    [
      ...(['anon', 'file', 'kernel_stack', 'percpu', 'sock', 'shmem', 'file_mapped', 'file_dirty'] as const),
      ...(['file_writeback', 'inactive_anon', 'active_anon', 'inactive_file', 'active_file'] as const),
      ...([
        'unevictable',
        'slab_reclaimable',
        'slab_unreclaimable',
        'slab',
        'pgfault',
        'pgmajfault',
      ] as const),
      ...(['pgrefill', 'pgscan', 'pgsteal', 'pgactivate', 'pgdeactivate', 'pglazyfree'] as const),
      ...(['pglazyfreed', 'workingset_refault_anon', 'workingset_refault_file'] as const),
      ...(['workingset_activate_anon', 'workingset_activate_file', 'workingset_restore_anon'] as const),
      ...(['workingset_restore_file', 'workingset_nodereclaim'] as const),
    ],
    ['kernel', 'pagetables', 'sec_pagetables', 'vmalloc', 'zswap', 'zswapped', 'swapcached', 'hugetlb'],
  ),
  /** The same by memory node, in bytes: `.anon.N0`. */
  'memory.numa_stat': nested,
  /** Bytes of swap. */
  'memory.swap.current': counter,
  /** Bytes of swap above which its tasks are slowed down. */
  'memory.swap.high': bytes,
  /** Bytes of swap that are never exceeded. */
  'memory.swap.max': bytes,
  /** The most bytes of swap it ever had. */
  'memory.swap.peak': since('6.5', counter),
  /** How often a limit of swap was hit. */
  'memory.swap.events': counters(['high', 'max', 'fail']),
  /** Bytes of compressed swap. CONFIG_ZSWAP. */
  'memory.zswap.current': since('5.19', counter),
  /** Bytes of compressed swap, beyond which pages go to the swap itself. */
  'memory.zswap.max': since('5.19', bytes),
  /** Whether compressed swap may be written to the swap itself. */
  'memory.zswap.writeback': since('6.8', flag),
  /** Waiting for memory. */
  'memory.pressure': someAndFull,

  /** Bytes and operations by device. */
  'io.stat': traffic,
  /** Share among its siblings, 1 to 10000, by device: `{ default: 100, '8:16': 200 }`, or a number. */
  'io.weight': weights,
  /** The same, of the scheduler bfq. */
  'io.bfq.weight': weights,
  /** Bytes and operations each second, by device: `{ '8:16': { rbps: 2 << 20, wiops: 'max' } }`. */
  'io.max': perDevice(['rbps', 'wbps', 'riops', 'wiops'], 'a number each second', 1),
  /** µs within which its requests shall be answered, by device; 0 for none. CONFIG_BLK_CGROUP_IOLATENCY. */
  'io.latency': perDevice(['target'], 'µs', 0),
  /** Which I/O priority its requests are given. CONFIG_BLK_CGROUP_IOPRIO. */
  'io.prio.class': since(
    '5.14',
    word(['no-change', 'promote-to-rt', 'none-to-rt', 'restrict-to-be', 'idle']),
  ),
  /** Quality of service that `io.weight` keeps to, by device. Only in the root. */
  'io.cost.qos': settings,
  /** What I/O costs for `io.weight`, by device. Only in the root. */
  'io.cost.model': settings,
  /** Waiting for I/O. */
  'io.pressure': someAndFull,

  /** Processes and threads, with all below. */
  'pids.current': counter,
  /** How many there may be. */
  'pids.max': limit('a count'),
  /** The most there ever were. */
  'pids.peak': since('6.1', counter),
  /** How often fork(2) was refused; since 6.11: here and below. */
  'pids.events': counters(['max']),
  /** How often fork(2) was refused by the limit of this very cgroup. */
  'pids.events.local': since('6.11', counters(['max'])),

  /** Processors it asks for; none: those of the cgroup above. */
  'cpuset.cpus': settableSet,
  /** Processors it has. */
  'cpuset.cpus.effective': set,
  /** Processors that a partition below may have for itself. */
  'cpuset.cpus.exclusive': since('6.7', settableSet),
  /** Those of them that it got. */
  'cpuset.cpus.exclusive.effective': since('6.7', set),
  /** Processors of all isolated partitions. Only in the root. */
  'cpuset.cpus.isolated': since('6.8', set),
  /** Whether its processors are nobody else's: 'root', or 'isolated' from load balancing too (5.19). */
  'cpuset.cpus.partition': word<
    'member' | 'root' | 'isolated' | `${'root' | 'isolated'} invalid${string}`,
    'member' | 'root' | 'isolated'
  >(['member', 'root', 'isolated']),
  /** Memory nodes it asks for; none: those of the cgroup above. */
  'cpuset.mems': settableSet,
  /** Memory nodes it has. */
  'cpuset.mems.effective': set,

  /** Bytes. */
  'hugetlb.<size>.current': counter,
  /** Bytes that a page fault may take. */
  'hugetlb.<size>.max': bytes,
  /** How often the limit was hit, here and below. */
  'hugetlb.<size>.events': counters(['max']),
  /** How often the limit was hit, of this very cgroup. */
  'hugetlb.<size>.events.local': counters(['max']),
  /** Bytes by memory node: `.total`, `.N0`. */
  'hugetlb.<size>.numa_stat': since('5.17', pairs),
  /** Bytes reserved. */
  'hugetlb.<size>.rsvd.current': counter,
  /** Bytes that may be reserved. */
  'hugetlb.<size>.rsvd.max': bytes,

  /** Handles and objects by device: `{ mlx5_0: { hca_handle: 2, hca_object: 'max' } }`. */
  'rdma.max': nestedLimits,
  'rdma.current': { parse: nestedLimits.parse },
  'rdma.peak': since('7.2', { parse: nestedLimits.parse }),
  'rdma.events': since('7.2', { parse: nestedLimits.parse }),
  'rdma.events.local': since('7.2', { parse: nestedLimits.parse }),

  /** How much there is, by resource. */
  'misc.capacity': since('5.13', counters()),
  'misc.current': since('5.13', counters()),
  'misc.peak': since('6.11', counters()),
  /** `{ sev: 4 }` */
  'misc.max': since('5.13', limits('a count')),
  /** How often a limit was hit, here and below: `{ 'sev.max': 0 }`. */
  'misc.events': since('5.16', counters()),
  'misc.events.local': since('6.11', counters()),

  /** Bytes of device memory, by region. Only in the root. */
  'dmem.capacity': since('6.14', counters()),
  'dmem.current': since('6.14', counters()),
  /** Bytes by region: `{ 'drm/0000:03:00.0/vram0': 1 << 30 }`. */
  'dmem.max': since('6.14', limits('bytes')),
  'dmem.min': since('6.14', limits('bytes')),
  'dmem.low': since('6.14', limits('bytes')),
} as const

/** A row, whatever its values. */
export interface Format extends Partial<Readable<unknown>>, Partial<Writable<never>> {
  readonly since?: string
  /** Keys that it has on every kernel. */
  readonly always?: readonly string[]
}

/** The row of a file; undefined for one that is not known. */
export function formatOf(file: string): Format | undefined {
  const row = file.replace(/^hugetlb\.\d+[KMG]B\./, 'hugetlb.<size>.')
  return Object.hasOwn(files, row) ? files[row as keyof typeof files] : undefined
}

/** The controller that a file belongs to; none for the core's, and for those which every cgroup has. */
export function controllerOf(file: string): string | undefined {
  const controller = file.slice(0, file.indexOf('.'))
  if (controller === 'cgroup' || file.endsWith('.pressure') || file.startsWith('cpu.stat')) return undefined
  return controller
}
