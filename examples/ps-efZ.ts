// ps -efZ: the machine's one process table, with labels. The processes of "containers" are in it, like all others.
import { ps } from 'fancyproc'
import { fields, header, line } from './columns.ts'

const label = (text: string): string => text.padEnd(31)

console.log(`${label('LABEL')} ${header}`)
for (const row of await ps({ fields: ['label', ...fields] }))
  console.log(`${label(row.label ?? '-')} ${line(row)}`)
