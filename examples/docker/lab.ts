// The lab: docker run -td rhel7 top, three times; ps -efZ | grep top. Then a look at what the three are.
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { cgroups, KernelError, run, selinux } from 'fancyproc'
import { compare } from './facts.ts'
import { parse } from './options.ts'
import { Refusal } from './refusal.ts'
import { type Container, directory, find, forget, isRunning } from './state.ts'
import { columns, say, style } from './table.ts'
import { tree } from './tree.ts'

const COUNT = 3

export async function lab(args: string[]): Promise<number> {
  const { operands } = parse('lab', 'lab', {}, args)
  if (operands.length > 0) throw new Refusal("'docker lab' takes no arguments")
  const interruption = new AbortController()
  const interrupt = (): void => {
    interruption.abort(new Refusal('interrupted', 130))
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt)
  const started: Container[] = []
  try {
    await play(started, interruption.signal)
  } catch (error) {
    // Nothing is left behind, whatever went wrong.
    if (started.length > 0) await docker(['rm', '-f', ...started.map(shortId)])
    throw error
  }
  return 0
}

const shortId = ({ id }: Container): string => id.slice(0, 12)

async function play(started: Container[], interruption: AbortSignal): Promise<void> {
  heading('docker run -td rhel7 top, three times')
  console.log("'docker' is this example here: npm start -- run -td rhel7 top, and so on.\n")
  for (let i = 0; i < COUNT; i++) {
    const { stdout, stderr } = await docker(['run', '-td', 'rhel7', 'top'])
    // The same each time.
    if (i === 0) say([stderr.trim()])
    console.log(stdout.trim())
    started.push(find(stdout.trim()))
    interruption.throwIfAborted()
  }
  const shims = started.map(({ owner = 0 }) => owner)

  heading("In the machine's one process table")
  await processTable([process.pid, ...shims, ...started.map(pidOf)])
  interruption.throwIfAborted()

  heading('What makes them fancy')
  const columns = started.map((container) => ({ title: shortId(container), pid: pidOf(container) }))
  console.log(await compare([{ title: 'the engine', pid: process.pid }, ...columns]))
  console.log('≠: a namespace other than the engine has.')
  const limits = await aboutLimits(started)
  if (limits !== undefined) console.log(limits)
  interruption.throwIfAborted()

  heading('The engine and they, side by side')
  await processTree(started, shims)

  heading('The point')
  console.log(thePoint(started))

  heading('And away with them')
  const ids = started.map(shortId)
  await docker(['stop', ...ids])
  await docker(['rm', ...ids])
  for (const container of started.splice(0)) assertGone(container)
  console.log('Nothing is left of them: no process, no mount, no cgroup, no record.')
}

const pidOf = ({ pid = 0 }: Container): number => pid

function heading(text: string): void {
  console.log(`\n${style(['bold', 'underline'], text)}\n`)
}

/** The command itself. In a session of its own, so that Ctrl-C doesn't hit it half-way. */
async function docker(args: string[]): Promise<{ stdout: string; stderr: string }> {
  console.log(style('cyan', `$ docker ${args.join(' ')}`))
  const main = fileURLToPath(new URL('./main.js', import.meta.url))
  const { code, stdout, stderr } = await run(process.execPath, [main, ...args], {
    env: process.env,
    detached: true,
  })
  if (code !== 0) throw new Refusal(stderr.trim().replace(/^docker: /gm, ''), code ?? 1)
  return { stdout, stderr }
}

/** So many words of a line, and the rest of it. */
function fields(line: string, count: number): string[] {
  const words = line.trim().split(/\s+/)
  return [...words.slice(0, count), words.slice(count).join(' ')]
}

/** The system's own ps: its header, and its lines for the engine and for what it started. */
async function processTable(pids: number[]): Promise<void> {
  console.log(style('cyan', '$ ps -efZ'))
  const ps = await run('ps', ['-efZ'], { env: { PATH: process.env['PATH'] } }).catch((error: unknown) => {
    if (error instanceof KernelError && error.code === 'ENOENT') return undefined
    throw error
  })
  if (ps?.code !== 0) {
    console.log(ps === undefined ? 'There is no ps here (Debian: apt-get install procps).' : ps.stderr.trim())
    return
  }
  const [head = [], ...all] = ps.stdout
    .trimEnd()
    .split('\n')
    .map((line) => fields(line, 8))
  const ours = all.filter(([, , pid]) => pids.includes(Number(pid)))
  // SELinux's labels are longer than the column that ps has for them.
  const rows = ours.map((row) => (row.at(-1) === 'top' ? row.map((text) => style('bold', text)) : row))
  console.log(
    columns(
      head.map((text) => style('dim', text)),
      rows,
      ' ',
    ),
  )
  console.log('\nTTY: in there it is /dev/pts/0, three times, each in a devpts of its own.')
  if (!selinux.enabled()) {
    console.log(`SELinux is off on this kernel: LABEL is '${ours[0]?.[0] ?? '-'}'.`)
  }
}

async function aboutLimits([container]: Container[]): Promise<string | undefined> {
  if (container?.cgroup === undefined) return NO_CGROUP
  const reasons = await Promise.all(['memory', 'pids'].map((name) => cgroups.explain(name)))
  const lacking = reasons.filter((reason) => reason !== undefined)
  return lacking.length === 0 ? undefined : `limits: none, as here\n  ${lacking.join('\n  ')}`
}

const NO_CGROUP = `cgroup: theirs is the engine's, as this user may make none: root may, and whoever was
delegated a subtree.`

async function processTree(started: Container[], shims: number[]): Promise<void> {
  const notes = new Map([
    [process.pid, 'the engine: it could end now'],
    ...shims.map((pid): [number, string] => [pid, 'holds a terminal, waits']),
    ...started.map((container): [number, string] => [pidOf(container), 'a "container"']),
  ])
  const lines = (await tree([...notes.keys()])).map(({ pid, line }) => ({
    note: notes.get(pid),
    line: brief(line),
  }))
  const width = Math.max(...lines.flatMap(({ note, line }) => (note === undefined ? [] : line.length)))
  for (const { note, line } of lines) {
    if (note === undefined) console.log(style('dim', line))
    else console.log(`${line.padEnd(width)}  ${style('yellow', `← ${note}`)}`)
  }
}

function brief(line: string): string {
  return line.length > 52 ? `${line.slice(0, 51)}…` : line
}

function thePoint([container]: Container[]): string {
  const attributes = ['namespaces', container?.cgroup ? 'a cgroup' : '', container?.label ? 'a label' : '']
  return `The kernel knows no containers. Each top is a regular process of this machine,
beside the engine and not on top of it, with attributes such as its uid:
${attributes.filter(Boolean).join(', ')}. All that the engine has is a note of each, and
they run on without it: ${container ? directory(container) : ''}/state.json`
}

function assertGone(container: Container): void {
  const { cgroup } = container
  const left = [
    isRunning(container) ? `process ${pidOf(container)}` : undefined,
    cgroup !== undefined && existsSync(cgroup) ? cgroup : undefined,
    existsSync(directory(container)) ? directory(container) : undefined,
  ].filter((one) => one !== undefined)
  if (left.length > 0) throw new Refusal(`left behind: ${left.join(', ')}`)
  forget(container)
}
