// section.ts NAME [quick]: one section, in a process of its own with a heap of its own; its rows go to the parent.
import type { Context } from './measure.ts'
import { sections } from './sections/index.ts'

const [name = '', quick] = process.argv.slice(2)
const context: Context = {
  quick: quick !== undefined,
  rounds: (full, fewer = 10) => (quick === undefined ? full : fewer),
}
process.send?.((await sections[name]?.(context)) ?? [])
process.disconnect()
