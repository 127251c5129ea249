// What is printed: lines, colour where there is a terminal, and tables.
import Table from 'cli-table3'
import { writeSync } from 'node:fs'
import { isatty } from 'node:tty'
import { styleText } from 'node:util'

// Not process.stdout: merely looking at it makes a pipe non-blocking, which a program that inherits it would not expect.
const coloured = isatty(1) && process.env['NO_COLOR'] === undefined

type Style = Parameters<typeof styleText>[0]

export function style(format: Style, text: string): string {
  return coloured ? styleText(format, text) : text
}

/** Asides, on stderr. */
export function say(lines: readonly string[]): void {
  for (const line of lines) writeSync(2, `${line}\n`)
}

/** As docker prints them: columns, no lines. */
export function columns(head: string[], rows: string[][], middle = '   '): string {
  const gaps = ['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right', 'left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid'] as const // prettier-ignore
  const chars = { ...Object.fromEntries(gaps.map((gap) => [gap, ''])), middle }
  const table = new Table({
    head,
    chars,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  })
  table.push(...rows)
  return table.toString().replace(/ +$/gm, '')
}

/** With lines around its cells, and a heading for each row. */
export function grid(head: string[], rows: string[][]): string {
  const table = new Table({ head, style: { head: [], border: coloured ? ['gray'] : [], compact: true } })
  table.push(...rows)
  return table.toString()
}
