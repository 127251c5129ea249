// What each ingredient adds: mounts, a network namespace, a cgroup, a user namespace, a label.
import { cgroups, type Namespace, selinux } from 'fancyproc'
import { mapUser, setexeccon, writeFile } from 'fancyproc/steps'
import { compared, inTurns, named, type Section } from '../measure.ts'
import { enter, isolated, Limit, makeRoot, namespaces, ours } from '../programs.ts'

export const kinds: Section = async (context) => {
  const rows = [
    ...(await mounts(context)),
    ...(await network(context)),
    ...(await user(context)),
    ...(await cgroup(context)),
    ...(await label(context)),
  ]
  return named('kinds', rows)
}

type Part = (context: Parameters<Section>[0]) => Promise<ReturnType<typeof compared>[]>

const mounts: Part = async ({ rounds, quick }) => {
  const rows = []
  for (const binds of quick ? [1, 100] : [1, 100, 2000]) {
    using root = makeRoot(binds)
    using limit = new Limit(root.path, ['-b', String(binds)])
    const options = { ...isolated, steps: [enter(root.path, binds)] }
    const times = await inTurns(rounds(binds > 1000 ? 20 : 60, 10), {
      ours: () => ours(options),
      theirs: async () => (await limit.launch()).wall,
    })
    rows.push(
      compared(`${String(binds)} binds`, 'ms', times.ours, 'C, same calls', times.theirs, {
        ...(binds === 2000 ? { bar: { most: 1.2 } } : {}),
      }),
    )
  }
  return rows
}

const network: Part = async ({ rounds }) => {
  using root = makeRoot()
  const steps = [enter(root.path)]
  const without: Namespace[] = namespaces.filter((kind) => kind !== 'net')
  const times = await inTurns(rounds(100, 20), {
    fresh: () => ours({ ...isolated, steps }),
    none: () => ours({ ...isolated, namespaces: without, steps }),
  })
  return [compared('with a new network namespace', 'ms', times.fresh, 'without', times.none)]
}

const user: Part = async ({ rounds }) => {
  using root = makeRoot()
  using limit = new Limit(root.path, ['-u'])
  const times = await inTurns(rounds(100, 20), {
    with: () =>
      ours({ ...isolated, namespaces: ['user', ...namespaces], steps: [mapUser(), enter(root.path)] }),
    without: () => ours({ ...isolated, steps: [enter(root.path)] }),
    limit: async () => (await limit.launch()).wall,
  })
  return [
    compared('with a user namespace', 'ms', times.with, 'without', times.without),
    compared('with a user namespace', 'ms', times.with, 'C, same calls', times.limit),
  ]
}

const cgroup: Part = async ({ rounds }) => {
  using root = makeRoot()
  await using group = await cgroups.create('bench')
  using limit = new Limit(root.path, ['-g', group.path])
  const steps = [enter(root.path)]
  const times = await inTurns(rounds(100, 20), {
    born: () => ours({ ...isolated, cgroup: group, steps }),
    moved: () => ours({ ...isolated, steps: [writeFile(`${group.path}/cgroup.procs`, '0'), ...steps] }),
    none: () => ours({ ...isolated, steps }),
    limit: async () => (await limit.launch()).wall,
  })
  return [
    compared('born in a cgroup', 'ms', times.born, 'in none of its own', times.none),
    compared('born in a cgroup', 'ms', times.born, 'moved there', times.moved),
    compared('born in a cgroup', 'ms', times.born, 'C, same calls', times.limit),
  ]
}

/** Only where SELinux is on: in the test machine. */
const label: Part = async ({ rounds }) => {
  if (!selinux.enabled()) return []
  using root = makeRoot()
  const own = selinux.getcon()
  const times = await inTurns(rounds(60, 10), {
    with: () => ours({ ...isolated, steps: [enter(root.path), setexeccon(own)] }),
    without: () => ours({ ...isolated, steps: [enter(root.path)] }),
  })
  return [compared('with a SELinux exec label', 'ms', times.with, 'without', times.without)]
}
