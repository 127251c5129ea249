// lsns: the namespaces of this machine, those of no process too. `node dist/examples/lsns.js [KIND...]`
import { readFileSync } from 'node:fs'
import { type Namespace, type NamespaceInfo, namespaces, ps } from 'fancyproc'

const kinds = process.argv.slice(2) as Namespace[]
const all = await namespaces(kinds.length > 0 ? { kinds } : {})

// Each is named after its first process.
const pids = [...new Set(all.flatMap(({ pids }) => pids.slice(0, 1)))]
const found = await ps({ fields: ['pid', 'uid', 'args', 'comm'], pids })
const processes = new Map(found.map((row) => [row.pid, row]))

const passwd = readFileSync('/etc/passwd', 'utf8').split('\n')
const users = new Map(passwd.map((line) => line.split(':')).map(([name, , uid]) => [Number(uid), name]))

/** Without a process: what else keeps it. */
function holder({ mounts, fds, threads }: NamespaceInfo): string {
  const held = [
    ...mounts.map(({ path }) => path),
    ...threads.map((thread) => `thread ${String(thread)}`),
    ...fds.map(({ pid, fd }) => `fd ${String(fd)} of ${String(pid)}`),
  ]
  return `(${held.join(', ') || 'one below it, or nobody that may be looked at'})`
}

const rows = all.map((namespace) => {
  const { inode, kind, pids } = namespace
  const first = processes.get(pids[0] ?? 0)
  const command = first && (first.args.join(' ') || `[${first.comm}]`)
  const user = first && (users.get(first.uid.effective) ?? String(first.uid.effective))
  return [inode, kind, pids.length, first?.pid ?? '', user ?? '', command ?? holder(namespace)].map(String)
})
const head = ['NS', 'TYPE', 'NPROCS', 'PID', 'USER', 'COMMAND']
const widths = head.map((name, i) => Math.max(name.length, ...rows.map((row) => row[i]?.length ?? 0)))
const numeric = new Set([0, 2, 3])

for (const row of [head, ...rows]) {
  const cells = row.map((cell, i) =>
    numeric.has(i) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0),
  )
  console.log(
    cells
      .join(' ')
      .trimEnd()
      .slice(0, process.stdout.columns || Infinity),
  )
}
