// Launch to exit of an isolated static program: six namespaces, a root of its own, a fresh procfs; and what others take.
import { spawn } from 'fancyproc'
import { Limit } from '../limit.ts'
import { compared, inTurns, missing, named, type Section } from '../measure.ts'
import { fromNode, peers } from '../peers.ts'
import { enter, isolated, makeRoot, ours, program } from '../programs.ts'

/** CPU of a launch: of the child and all threads here. */
async function cpuTime(launch: () => Promise<{ usage: Used | undefined }>): Promise<number> {
  const before = process.cpuUsage()
  const { usage } = await launch()
  const { user, system } = process.cpuUsage(before)
  return (user + system + (usage?.userCPUTime ?? NaN) + (usage?.systemCPUTime ?? NaN)) / 1e3
}

interface Used {
  userCPUTime: number
  systemCPUTime: number
}

/** The C program with ever more of what we do, and nothing but an exec. */
const variants = (root: string): Record<string, Limit> => ({
  'C, same calls': new Limit(root, '/true'),
  'C, and stdio, fds, signals': new Limit('-p', root, '/true'),
  'C, and those, and a second exec': new Limit('-p', root, '/hop', '/true'),
  'C, and those, and three threads': new Limit('-pw', root, '/hop', '/true'),
  'C, exec alone': new Limit('-n', program('true')),
})

const bars: Readonly<Record<string, number>> = {
  'C, same calls': 1.15,
  'bwrap from Node': 0.5,
  'runc from Node': 0.1,
}

export const launch: Section = async ({ rounds }) => {
  using root = makeRoot()
  const limits = variants(root.path)
  const able = peers(root.path)
  const working = able.filter(({ command }) => command.length > 0)
  const standalone = working.map(({ name, command }): [string, Limit] => [name, new Limit('-n', ...command)])
  const options = { ...isolated, steps: [enter(root.path)] }
  const fancyproc = (): Promise<number> => ours(options)
  const wall = await inTurns<string>(rounds(500, 100), {
    fancyproc,
    'child_process, exec alone': () => fromNode(program('true'), []),
    ...Object.fromEntries(Object.entries(limits).map(([name, limit]) => [name, limit.wall])),
  })
  const slow = await inTurns<string>(rounds(120, 15), {
    fancyproc,
    ...Object.fromEntries(
      working.map(({ name, command: [file = '', ...args] }) => [
        `${name} from Node`,
        () => fromNode(file, args),
      ]),
    ),
    ...Object.fromEntries(standalone.map(([name, limit]) => [`${name} from C`, limit.wall])),
  })
  const cpu = await inTurns<string>(rounds(300, 60), {
    fancyproc: () => cpuTime(() => spawn('/true', [], options).exited),
    ...Object.fromEntries(Object.entries(limits).map(([name, limit]) => [name, limit.cpu])),
  })
  const rows = [wall, slow].flatMap(({ fancyproc: own = [], ...others }) =>
    Object.entries(others).map(([name, theirs]) =>
      compared('launch to exit', 'ms', own, name, theirs, barOf(bars[name])),
    ),
  )
  for (const { name, why } of able)
    if (why !== undefined) rows.push(missing('launch to exit', `${name}: ${why}`))
  const { fancyproc: own = [], ...others } = cpu
  for (const [name, theirs] of Object.entries(others))
    rows.push(
      compared(
        'CPU of a launch',
        'ms',
        own,
        name,
        theirs,
        barOf(name === 'C, same calls' ? 1.25 : undefined),
      ),
    )
  for (const limit of [...Object.values(limits), ...standalone.map(([, limit]) => limit)])
    limit[Symbol.dispose]()
  return named('launch', rows)
}

const barOf = (most: number | undefined): { bar?: { most: number } } =>
  most === undefined ? {} : { bar: { most } }
