// Writes assembly that embeds a file: `node embed.mjs FILE OUT.S` defines fancyproc_helper and fancyproc_helper_end.
import { readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'

const [file, out] = process.argv.slice(2)
if (!file || !out) throw new Error('usage: embed.mjs FILE OUT.S')

const { length } = readFileSync(file)

writeFileSync(
  out,
  `        .section .rodata
        .balign 16
        .globl  fancyproc_helper, fancyproc_helper_end
        .hidden fancyproc_helper, fancyproc_helper_end
        .type   fancyproc_helper, %object
        .size   fancyproc_helper, ${length}
fancyproc_helper:
        .incbin "${resolve(file)}"
fancyproc_helper_end:
        .byte   0
        .section .note.GNU-stack, "", %progbits
`,
)
