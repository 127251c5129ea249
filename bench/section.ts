// section.ts NAME [quick]: one section, in the room that room.ts makes; its rows go to the parent.
import { context } from './measure.ts'
import { sections } from './sections/index.ts'

// The first process of a pid namespace doesn't end with its parent, nor by a signal.
const orphaned = (): never => process.exit(1)
process.once('disconnect', orphaned)

const [name = '', quick] = process.argv.slice(2)
const rows = (await sections[name]?.(context(quick !== undefined))) ?? []
process.off('disconnect', orphaned)
process.send?.(rows, undefined, {}, () => process.exit(0))
