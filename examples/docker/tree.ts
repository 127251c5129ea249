// The part of the machine's process tree that leads to some processes.
import { readdirSync, readFileSync } from 'node:fs'
import { quietly } from './state.ts'

interface Node {
  pid: number
  parent: number
  command: string
}

function read(pid: number): Node | undefined {
  const stat = quietly(() => readFileSync(`/proc/${pid}/stat`, 'utf8'))
  const command = quietly(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8'))
  if (stat === undefined || command === undefined) return undefined
  const end = stat.lastIndexOf(')')
  const name = command.replaceAll('\0', ' ').trim() || `[${stat.slice(stat.indexOf('(') + 1, end)}]`
  return { pid, parent: Number(stat.slice(end + 4).split(' ')[0]), command: name }
}

/** These, their ancestors, and their descendants: lines of text, each with its pid. */
export function tree(pids: number[]): { pid: number; line: string }[] {
  const numbers = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  const nodes = new Map(numbers.flatMap((name) => read(Number(name)) ?? []).map((node) => [node.pid, node]))
  const shown = new Set<number>()
  for (const pid of pids) {
    for (let node = nodes.get(pid); node && !shown.has(node.pid); node = nodes.get(node.parent))
      shown.add(node.pid)
  }
  const children = (parent: number): Node[] =>
    [...nodes.values()].filter((node) => node.parent === parent && shown.has(node.pid))

  const draw = (list: Node[], indent: string): { pid: number; line: string }[] =>
    list.flatMap(({ pid, command }, i) => {
      const last = i === list.length - 1
      const branch = indent === '' ? '' : last ? '└─ ' : '├─ '
      const deeper = indent === '' ? ' ' : `${indent}${last ? '   ' : '│  '}`
      return [{ pid, line: `${indent}${branch}${pid} ${command}` }, ...draw(children(pid), deeper)]
    })
  return draw(children(0), '')
}
