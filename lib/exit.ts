// How a process ended, and what it used.
/** What the process used, by the names of `process.resourceUsage()`: times in microseconds, sizes in kilobytes. */
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
 * before that, whatever it made of our signal; `kill()` came before it ran its program.
 */
export type Reason = 'exited' | 'signaled' | 'dumped' | 'timeout' | 'aborted' | 'cancelled'

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
