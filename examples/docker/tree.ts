// The part of the machine's process tree that leads to some processes.
import { ps } from 'fancyproc'

/** These, their ancestors, and their descendants: lines of text, each with its pid. */
export async function tree(pids: number[]): Promise<{ pid: number; line: string }[]> {
  const all = await ps({ fields: ['pid', 'ppid', 'args', 'comm'] })
  const nodes = new Map(all.map((node) => [node.pid, node]))
  const shown = new Set<number>()
  for (const pid of pids) {
    for (let node = nodes.get(pid); node && !shown.has(node.pid); node = nodes.get(node.ppid))
      shown.add(node.pid)
  }
  const children = (parent: number): typeof all =>
    all.filter(({ pid, ppid }) => ppid === parent && shown.has(pid))

  const draw = (list: typeof all, indent: string): { pid: number; line: string }[] =>
    list.flatMap(({ pid, args, comm }, i) => {
      const command = args.join(' ').trim() || `[${comm}]`
      const last = i === list.length - 1
      const branch = indent === '' ? '' : last ? '└─ ' : '├─ '
      const deeper = indent === '' ? ' ' : `${indent}${last ? '   ' : '│  '}`
      return [{ pid, line: `${indent}${branch}${pid} ${command}` }, ...draw(children(pid), deeper)]
    })
  return draw(children(0), '')
}
