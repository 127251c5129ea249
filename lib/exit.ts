// How a process ended, and what it used.
/**
 * What the process used, and those of its descendants that were waited for, by the names of `process.resourceUsage()`: times
 * in microseconds, sizes in kilobytes.
 */
export interface Usage {
  userCPUTime: number
  systemCPUTime: number
  /** Undefined when below this process's own peak: until its first exec a child is charged with that. */
  maxRSS: number | undefined
  minorPageFault: number
  majorPageFault: number
  fsRead: number
  fsWrite: number
  voluntaryContextSwitches: number
  involuntaryContextSwitches: number
}

/**
 * Why it ended: it exited; a signal ended it; one that dumped core did; its `timeout` passed or its `signal` aborted
 * before that, whatever it made of our signal; `kill()` came before it ran its program; the OOM killer took it.
 *
 * 'oom_kill' is an inference, as the kernel doesn't tell whom it took: SIGKILL ended a process that had the option `cgroup`,
 * we had not sent one, and `oom_kill` in `memory.events.local` of the cgroup that its memory is charged to had risen since it
 * was started. It fails where somebody else kills a process of a cgroup which just lost another one to the OOM killer;
 * and is not made ('signaled') where the process has moved to another cgroup, the cgroup is removed at once, or no
 * cgroup above has the memory controller.
 */
export type Reason = 'exited' | 'signaled' | 'dumped' | 'timeout' | 'aborted' | 'cancelled' | 'oom_kill'

export interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
  usage: Usage | undefined
  reason: Reason
}

/** From the values of an EVENT_EXIT; native/watch.cc. */
export function usageOf(v: (i: number) => number): Usage {
  return {
    userCPUTime: v(2),
    systemCPUTime: v(3),
    maxRSS: v(4) || undefined,
    minorPageFault: v(5),
    majorPageFault: v(6),
    fsRead: v(7),
    fsWrite: v(8),
    voluntaryContextSwitches: v(9),
    involuntaryContextSwitches: v(10),
  }
}
