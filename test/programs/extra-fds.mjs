// Inherits descriptors that are not CLOEXEC: prints its own, then those of children of both kinds, as JSON.
import { execFileSync } from 'node:child_process'

import { run } from 'fancyproc'
import { chdir } from 'fancyproc/steps'

const list = (text) => text.trim().split('\n').map(Number)
const own = list(execFileSync('ls', ['/proc/self/fd'], { encoding: 'utf8' }))
const lists = []
for (const options of [{}, { steps: [chdir('/')] }, { stdio: ['ignore', 'pipe', 'ignore', 'pipe'] }]) {
  lists.push(list((await run('ls', ['/proc/self/fd'], options)).stdout))
}
const together = Array.from({ length: 20 }, () => run('ls', ['/proc/self/fd']))
for (const { stdout } of await Promise.all(together)) lists.push(list(stdout))
process.stdout.write(JSON.stringify({ own, lists }))
