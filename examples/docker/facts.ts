// What makes a process "fancy": isolation() tells it of any process, whoever started it.
import { isolation } from 'fancyproc'
import { grid, style } from './table.ts'

/** Those of isolation's rows that fit on a page. */
const shown = /^(ns\/\w+|cgroup|limits|label|capabilities|no_new_privs)$/

/** Fits a column of a table that has five, on a terminal 80 characters wide. */
function narrow(text: string, width = 12): string {
  const lines: string[] = []
  for (const part of text.split(/(?<=[/:, -])/)) {
    const line = lines.pop() ?? ''
    lines.push(...(line === '' || line.length + part.length <= width ? [line + part] : [line, part]))
  }
  return lines.map((line) => (line.length > width ? `${line.slice(0, width - 1)}…` : line.trim())).join('\n')
}

interface Column {
  title: string
  pid: number
}

/** Each process beside the first, the engine: what differs is marked. */
export async function compare([engine, ...others]: [Column, ...Column[]]): Promise<string> {
  const all = await Promise.all(others.map(({ pid }) => isolation(pid, { from: engine.pid })))
  const tables = all.map((one) => isolation.rows(one).filter(({ name }) => shown.test(name)))
  const cell = (name: string, value: string, differs: boolean): string => {
    const text = differs ? style(['bold', 'green'], narrow(value)) : style('dim', narrow(value))
    return name.startsWith('ns/') ? `${differs ? '≠' : ' '} ${text}` : text
  }
  return grid(
    ['', ...[engine, ...others].map(({ title, pid }) => style('bold', `${title}\npid ${pid}`))],
    (tables[0] ?? []).map(({ name, from }, i) => [
      name,
      name.startsWith('ns/') ? `  ${from}` : narrow(from, 13), // 'unconfined_r:'
      ...tables.map((rows) => cell(name, rows[i]?.value ?? '', rows[i]?.differs ?? false)),
    ]),
  )
}
