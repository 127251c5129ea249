// What strace saw of a helper, call by call, in the terms of format(): descriptors by where they come from.
import { readFileSync } from 'node:fs'

export interface Traced {
  name: string
  args: string
  result: string
}

/** The calls of each process; those that strace had to cut in two are whole again. */
function processes(text: string): Map<string, Traced[]> {
  const calls = new Map<string, Traced[]>()
  const unfinished = new Map<string, string>()
  for (const line of text.split('\n')) {
    const [, pid = '', rest = ''] = /^(\d+) +(.*)$/.exec(line) ?? []
    let whole = rest
    if (rest.endsWith(' <unfinished ...>')) {
      unfinished.set(pid, rest.slice(0, -' <unfinished ...>'.length))
      continue
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest)
    if (resumed) whole = `${unfinished.get(pid) ?? ''}${resumed[1] ?? ''}`
    const call = /^(\w+)\((.*)\)\s+= (.*)$/.exec(whole)
    const list = calls.get(pid) ?? []
    if (call) list.push({ name: call[1] ?? '', args: call[2] ?? '', result: call[3] ?? '' })
    calls.set(pid, list)
  }
  return calls
}

export interface HelperTrace {
  prologue: Traced[]
  steps: Traced[]
  /** From the disarming of the parent-death signal, or else execve, on. */
  end: Traced[]
}

const isExecve = ({ name }: Traced): boolean => name === 'execve'

/** The run of one helper, which goes on in the process that a `clone` step has made. */
export function helperTrace(file: string): HelperTrace {
  const all = processes(readFileSync(file, 'utf8'))
  const [pid = ''] = [...all].find(([, calls]) => calls.some(isHelper)) ?? []
  let calls = (all.get(pid) ?? []).slice((all.get(pid) ?? []).findIndex(isHelper) + 1)
  for (
    let at = calls.findIndex(isClone);
    at >= 0;
    at = calls.findIndex((call, i) => i > at && isClone(call))
  ) {
    calls = [...calls.slice(0, at + 1), ...(all.get(calls[at]?.result ?? '') ?? [])]
  }
  const limit = calls.findIndex(
    ({ name, args }) => name === 'prlimit64' && /^0, RLIMIT_NOFILE, \{/.test(args),
  )
  const last = calls.findIndex(isExecve)
  const disarms = calls[last - 1]?.args === 'PR_SET_PDEATHSIG, 0'
  return {
    prologue: calls.slice(0, limit + 1),
    steps: calls.slice(limit + 1, disarms ? last - 1 : last),
    end: calls.slice(
      disarms ? last - 1 : last,
      calls.findLastIndex((call) => isExecve(call) && call.result === '0') + 1,
    ),
  }
}

function isHelper({ name, args }: Traced): boolean {
  return name === 'execveat' && args.includes('["fancyproc", ')
}

const isClone = ({ name, args }: Traced): boolean => name === 'clone3' && args.includes('CLONE_PARENT')

/** The helper's own: it arms its parent-death signal again, asks where chdir has led, and a clone tells of itself. */
function withoutOwn(calls: readonly Traced[]): Traced[] {
  const own = calls.map(({ name, args }, i) => {
    if (name === 'ppoll') return true
    if (name === 'getcwd') return calls[i - 1]?.name === 'chdir'
    if (name === 'prctl' && args === 'PR_SET_PDEATHSIG, SIGKILL') return calls[i + 1]?.name === 'ppoll'
    const made = calls.slice(Math.max(0, i - 4), i).map((call) => call.name)
    const clone = made.lastIndexOf('clone3')
    if (clone < 0) return false
    const expected = ['getpid', 'pidfd_open', 'sendmsg', 'close']
    return [...made.slice(clone + 1), name].every((each, k) => each === expected[k])
  })
  return calls.filter((_, i) => !own[i])
}

const opens = new Set(['openat', 'openat2', 'ioctl'])

/** The steps' calls as format() has them. */
export function normalized({ prologue, steps }: HelperTrace): string[] {
  const proc = prologue.find(({ args }) => args.includes('F_DUPFD_CLOEXEC'))?.result ?? ''
  const names = new Map([[proc, '<proc>']])
  const lines: string[] = []
  for (const { name, args, result } of withoutOwn(steps)) {
    const named = args.replace(/^\d+(?=,|$)/, (fd) => names.get(fd) ?? fd)
    const line = `${name}(${name === 'symlinkat' || name === 'prlimit64' ? args : named})`
    lines.push(name === 'close_range' ? line : plain(line, names))
    if (opens.has(name) && /^\d+$/.test(result) && !(name === 'ioctl' && !args.includes('TIOCGPTPEER'))) {
      names.set(result, `<${name}>`)
    }
    if (name === 'dup3') names.delete(result)
    if (name === 'close') names.delete(/^\d+/.exec(args)?.[0] ?? '')
  }
  return merged(lines).map((line) => plain(line))
}

/** What a step prints, without what only a run can know. */
export function plain(line: string, names: ReadonlyMap<string, string> = new Map<string, string>()): string {
  const rights = /^sendmsg\(.*cmsg_data=\[(.*?)\]/.exec(line)
  if (rights) return `sendmsg(${names.get(rights[1] ?? '') ?? rights[1] ?? ''})`
  return line
    .replace(/^close_range\(\d+, /, 'close_range(…, ')
    .replace(/ parent_tid=0x[0-9a-f]+,/, '')
    .replace(/ => \{parent_tid=\[\d+\]\}/, '')
}

/** close_range passes over what the helper needs, which may be in several places, also in the first. */
function merged(lines: readonly string[]): string[] {
  return lines.filter((line, i) => {
    const [, end] = /^close_range\(\d+, (\d+), /.exec(line) ?? []
    const [, next] = /^close_range\((\d+), /.exec(lines[i + 1] ?? '') ?? []
    return end === undefined || next === undefined || Number(next) <= Number(end) + 1
  })
}
