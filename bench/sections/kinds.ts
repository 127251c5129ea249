// What each ingredient adds: mounts, a network namespace, a cgroup, a user namespace, a label.
import { cgroups, namespaces as machine, type Namespace, selinux } from 'fancyproc'
import { mapUser, setexeccon, setns, writeFile } from 'fancyproc/steps'
import { Limit } from '../limit.ts'
import {
  compared,
  type Context,
  inTurns,
  missing,
  named,
  type Section,
  type Unnamed,
  until,
} from '../measure.ts'
import { enter, isolated, makeRoot, namespaces, ours } from '../programs.ts'

type Part = (context: Context) => Promise<Unnamed[]>

export const kinds: Section = async (context) => {
  const rows = []
  for (const part of [mounts, network, user, cgroup, label]) rows.push(...(await part(context)))
  return named('kinds', rows)
}

const mounts: Part = async ({ rounds, quick }) => {
  const rows = []
  for (const binds of quick ? [1, 100] : [1, 100, 2000]) {
    using root = makeRoot(binds)
    using limit = new Limit('-b', String(binds), root.path, '/true')
    const options = { ...isolated, steps: [enter(root.path, binds)] }
    const times = await inTurns(rounds(100, 20), { ours: () => ours(options), theirs: limit.wall })
    const bar = binds === 2000 ? { bar: { most: 1.2 } } : {}
    rows.push(compared(`binds: ${binds}`, 'ms', times.ours, 'C, same calls', times.theirs, bar))
  }
  return rows
}

const network: Part = async ({ rounds }) => {
  using root = makeRoot()
  const steps = [enter(root.path)]
  const without: Namespace[] = namespaces.filter((kind) => kind !== 'net')
  const size = 4
  await using pool = machine.pool({ kinds: 'net', size })
  const times = await inTurns(rounds(150, 25), {
    fresh: () => ours({ ...isolated, steps }),
    none: () => ours({ ...isolated, namespaces: without, steps }),
    pooled: async () => {
      await until(() => pool.ready === size)
      const start = performance.now()
      using taken = await pool.take()
      await ours({ ...isolated, namespaces: without, steps: [setns(taken.net, 'net'), ...steps] })
      return performance.now() - start
    },
  })
  return [
    compared('network namespace: new', 'ms', times.fresh, 'none of its own', times.none),
    compared('network namespace: from a pool', 'ms', times.pooled, 'new', times.fresh),
    compared('network namespace: from a pool', 'ms', times.pooled, 'none of its own', times.none),
  ]
}

const user: Part = async ({ rounds }) => {
  using root = makeRoot()
  using limit = new Limit('-u', root.path, '/true')
  const times = await inTurns(rounds(150, 25), {
    with: () =>
      ours({ ...isolated, namespaces: ['user', ...namespaces], steps: [mapUser(), enter(root.path)] }),
    without: () => ours({ ...isolated, steps: [enter(root.path)] }),
    limit: limit.wall,
  })
  return [
    compared('user namespace: with', 'ms', times.with, 'without', times.without),
    compared('user namespace: with', 'ms', times.with, 'C, same calls', times.limit),
  ]
}

const cgroup: Part = async ({ rounds }) => {
  using root = makeRoot()
  await using group = await cgroups.create('bench')
  using limit = new Limit('-g', group.path, root.path, '/true')
  const steps = [enter(root.path)]
  const times = await inTurns(rounds(150, 25), {
    born: () => ours({ ...isolated, cgroup: group, steps }),
    moved: () => ours({ ...isolated, steps: [writeFile(`${group.path}/cgroup.procs`, '0'), ...steps] }),
    none: () => ours({ ...isolated, steps }),
    limit: limit.wall,
  })
  return [
    compared('cgroup: born in one', 'ms', times.born, 'in none of its own', times.none),
    compared('cgroup: born in one', 'ms', times.born, 'moved there', times.moved),
    compared('cgroup: born in one', 'ms', times.born, 'C, same calls', times.limit),
  ]
}

/** Where SELinux is on: in the test machine. */
const label: Part = async ({ rounds }) => {
  if (!selinux.enabled()) return [missing('SELinux exec label', 'SELinux is off on this kernel')]
  using root = makeRoot()
  const own = selinux.getcon()
  const times = await inTurns(rounds(100, 20), {
    with: () => ours({ ...isolated, steps: [enter(root.path), setexeccon(own)] }),
    without: () => ours({ ...isolated, steps: [enter(root.path)] }),
  })
  return [compared('SELinux exec label: with', 'ms', times.with, 'without', times.without)]
}
