// What makes a process "fancy", as /proc tells about any process.
import { readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { cgroups, selinux } from 'fancyproc'
import { quietly } from './state.ts'
import { grid, style } from './table.ts'

const kinds = ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup', 'user', 'time'] as const

interface Facts {
  /** By kind: the inode that is the namespace's identity. */
  namespaces: Map<string, string>
  cgroup: string
  limits: string
  label: string
  capabilities: string
  noNewPrivs: string
}

async function factsOf(pid: number): Promise<Facts> {
  const status = quietly(() => readFileSync(`/proc/${pid}/status`, 'utf8')) ?? ''
  const field = (name: string): string => new RegExp(`^${name}:\t(.*)$`, 'm').exec(status)?.[1] ?? '?'
  const cgroup = quietly(() => /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1])
  return {
    namespaces: new Map(kinds.map((kind) => [kind, namespaceOf(pid, kind)])),
    cgroup: cgroup ?? 'no v2',
    limits: await limitsOf(pid),
    label: selinux.enabled() ? (quietly(() => selinux.getpidcon(pid)) ?? '?') : 'SELinux off',
    capabilities: describeCapabilities(field('CapEff')),
    noNewPrivs: field('NoNewPrivs') === '1' ? 'yes' : 'no',
  }
}

/** The link reads like 'mnt:[4026532247]'. */
function namespaceOf(pid: number, kind: string): string {
  return /\d+/.exec(quietly(() => readlinkSync(`/proc/${pid}/ns/${kind}`)) ?? '')?.[0] ?? '?'
}

async function limitsOf(pid: number): Promise<string> {
  const directory = await cgroups.pathOf(pid).catch(() => undefined)
  if (directory === undefined) return 'none'
  const values = ['memory.max', 'pids.max'].flatMap((file) => {
    const value = quietly(() => readFileSync(join(directory, file), 'utf8').trim())
    return value === undefined ? [] : `${file.replace('.max', '')} ${value}`
  })
  return values.join('\n') || 'none'
}

function describeCapabilities(mask: string): string {
  const count = (text: string): number => BigInt(`0x${text}`).toString(2).replaceAll('0', '').length
  if (!/^[0-9a-f]+$/.test(mask)) return '?'
  const last = quietly(() => readFileSync('/proc/sys/kernel/cap_last_cap', 'utf8')) ?? '40'
  return `${count(mask)} of ${Number(last) + 1}\n${mask.replace(/^0+(?=.)/, '')}`
}

/** Fits a column of a terminal 80 characters wide, which has five. */
function narrow(text: string, width = 12): string {
  const lines: string[] = []
  for (const part of text.split(/(?<=[/:,-])/)) {
    const line = lines.pop() ?? ''
    lines.push(...(line === '' || line.length + part.length <= width ? [line + part] : [line, part]))
  }
  return lines.map((line) => (line.length > width ? `${line.slice(0, width - 1)}…` : line)).join('\n')
}

/** Each process beside the first, the engine: what differs is marked. */
export async function compare(columns: { title: string; pid: number }[]): Promise<string> {
  const all = await Promise.all(columns.map(({ pid }) => factsOf(pid)))
  const row = (name: string, of: (facts: Facts) => string): string[] => {
    const values = all.map(of)
    const cells = values.map((value, i) => {
      if (i === 0) return value
      return value === values[0] ? style('dim', value) : style(['bold', 'green'], value)
    })
    return [name, ...cells]
  }
  const namespaceRow = (kind: string): string[] => {
    const [name = '', engine = '', ...others] = row(kind, ({ namespaces }) => namespaces.get(kind) ?? '?')
    const same = (i: number): boolean => all[i + 1]?.namespaces.get(kind) === all[0]?.namespaces.get(kind)
    return [`ns/${name}`, `  ${engine}`, ...others.map((cell, i) => `${same(i) ? ' ' : '≠'} ${cell}`)]
  }
  return grid(
    ['', ...columns.map(({ title, pid }) => style('bold', `${title}\npid ${pid}`))],
    [
      ...kinds.map(namespaceRow),
      row('cgroup', ({ cgroup }) => narrow(cgroup)),
      row('limits', ({ limits }) => limits),
      row('label', ({ label }) => narrow(label)),
      row('capabilities', ({ capabilities }) => capabilities),
      row('no_new_privs', ({ noNewPrivs }) => noNewPrivs),
    ],
  )
}
