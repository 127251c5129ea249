// What ps() tells of a process.
import type { Namespace } from '../steps/namespace.ts'

/** The four ids that a process has of a kind. */
export interface Ids {
  readonly real: number
  readonly effective: number
  readonly saved: number
  /** With which it accesses files. */
  readonly fs: number
}

export interface Terminal {
  /** The device's number, as `st_rdev` has it. */
  device: number
  /** 'pts/0', 'tty1': below /dev. A pts is of the process's own devpts. Undefined where /sys does not tell. */
  name: string | undefined
}

/** The five sets, a bit each capability: capabilities(7). */
export interface CapabilitySets {
  readonly inheritable: bigint
  readonly permitted: bigint
  readonly effective: bigint
  readonly bounding: bigint
  readonly ambient: bigint
}

export interface Seccomp {
  readonly mode: 'disabled' | 'strict' | 'filter'
  /** How many filters are installed; undefined before Linux 5.9. */
  readonly filters: number | undefined
}

/**
 * A process, as procfs shows it: ids are those of the reader's user namespace, pids those of the procfs's pid
 * namespace. Objects that two processes have the same of may be one, and are frozen. See `man 5 proc`.
 */
export interface ProcessInfo {
  /** /proc itself: no file of the process is opened for it. */
  pid: number
  /** Its parent; 0 if that is outside of the pid namespace, or there is none. /proc/PID/stat. */
  ppid: number
  /** Its process group. /proc/PID/stat. */
  pgid: number
  /** Its session. /proc/PID/stat. */
  sid: number
  /** Its controlling terminal, null if it has none. /proc/PID/stat, and /sys/dev/char for the name. */
  tty: Terminal | null
  /** Of its main thread: 'R' running, 'S' sleeping, 'D' uninterruptible, 'T' stopped, 't' traced, 'Z' zombie, 'I' idle, 'X' dead. /proc/PID/stat. */
  state: string
  /**
   * When it started, in ticks of 1/100 s since boot, suspended time included. Together with the pid this is the
   * process's identity. /proc/PID/stat.
   */
  startTicks: number
  /** The same as a date, by today's clock: it moves when the clock is set. /proc/PID/stat. */
  started: Date
  /** How many threads it has; 0 for a zombie on some kernels. /proc/PID/stat. */
  threads: number
  /** Microseconds in user mode, in steps of 10,000; of threads that have ended, too. /proc/PID/stat. */
  userCPUTime: number
  /** Microseconds in the kernel, in steps of 10,000. /proc/PID/stat. */
  systemCPUTime: number
  /** Bytes of memory that are resident. /proc/PID/stat. */
  rss: number
  /** Bytes of its address space. /proc/PID/stat. */
  vsize: number
  /**
   * The name of its main thread: up to 15 bytes, which it may choose itself; kernel threads have longer ones. Bytes
   * that are no UTF-8 are U+FFFD here, as in all texts. /proc/PID/stat.
   */
  comm: string
  /** /proc/PID/status. */
  uid: Ids
  /** /proc/PID/status. */
  gid: Ids
  /** Supplementary groups. /proc/PID/status. */
  groups: number[]
  /** Its pid in this pid namespace, and in each one nested in it, down to its own. /proc/PID/status. */
  nspid: number[]
  /** /proc/PID/status. */
  capabilities: CapabilitySets
  /** /proc/PID/status. */
  noNewPrivs: boolean
  /** Undefined on a kernel without it. /proc/PID/status. */
  seccomp: Seccomp | undefined
  /**
   * What it was executed with, or has written there since; empty for a kernel thread and a zombie. The process itself says
   * where that is, so no more than 2 MiB of it are read, and no more than 262,144 arguments made of it; where processes that
   * are read together have more than 8 MiB of them, of each further one no more than 4 KiB. /proc/PID/cmdline.
   */
  args: string[]
  /**
   * The path of its program, in the reader's root, with ' (deleted)' after it when it has been. Undefined for a kernel
   * thread, for a zombie, and where ptrace access is refused: another user's. /proc/PID/exe.
   */
  executable: string | undefined
  /** Its cgroup v2, as the reader's cgroup namespace shows it: '/user.slice'. Undefined without that hierarchy. /proc/PID/cgroup. */
  cgroup: string | undefined
  /** Its cgroups v1, by their controllers or names: `{'cpu,cpuacct': '/', 'name=systemd': '/init.scope'}`. /proc/PID/cgroup. */
  cgroupsV1: Readonly<Record<string, string>>
  /**
   * What the machine's security module calls it: SELinux's context, AppArmor's profile. Undefined without such a
   * module, and where that refuses. /proc/PID/attr/current.
   */
  label: string | undefined
  /**
   * Inodes of its namespaces. One is undefined where ptrace access is refused (another user's, all of them), on a
   * kernel without this kind, and when a zombie has left it. /proc/PID/ns.
   */
  namespaces: Readonly<Record<Namespace, number | undefined>>
}

export type ProcessField = keyof ProcessInfo
