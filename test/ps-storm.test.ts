// ps() while processes come and go, and while one pid goes from process to process.
import { expect, test } from '@jest/globals'
import { spawn as nodeSpawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Process, ps, spawn } from 'fancyproc'
import { setresuid } from 'fancyproc/steps'
import { root, script } from './support/fork.ts'
import { on, patient, scaled } from './support/machine.ts'
import { stat } from './support/proc.ts'

const LISTINGS = scaled(100)

test('a fork storm: no exception, no wrong row', async () => {
  // Each child says in its arguments which one it is, without effect; 25 at a time.
  const loop = 'i=0; while :; do i=$((i+1)); sleep $0 0.000000$i & [ $((i % 25)) -gt 0 ] || wait; done'
  // They sleep for as long as a listing may take to come to them.
  const names = [30, 31].map((milliseconds) => String(patient(milliseconds) / 1000))
  const storm = names.map((name) => spawn('sh', ['-c', loop, name], { stdio: 'ignore' }))
  try {
    const shells = await Promise.all(storm.map(async (child) => (await child.spawned).pid ?? 0))
    const [first] = await ps({ pids: shells, fields: ['startTicks'] })
    const known = new Map<string, { pid: number; startTicks: number; count: number }>()
    let latest = 0
    for (let i = 0; i < LISTINGS || (latest <= LISTINGS / 2 && i < 10 * LISTINGS); i++) {
      const rows = await ps()
      const pids = rows.map(({ pid }) => pid)
      expect(pids).toEqual([...new Set(pids)].sort((a, b) => a - b))
      expect(pids).toEqual(expect.arrayContaining([...shells, process.pid]))
      for (const { pid, ppid, startTicks, args, nspid } of rows) {
        expect(nspid[0]).toBe(pid)
        if (!shells.includes(ppid)) continue
        expect(startTicks).toBeGreaterThanOrEqual(first?.startTicks ?? Infinity)
        const [program, name = '', number = ''] = args
        if (program !== 'sleep') {
          // Not executed yet, or a zombie.
          expect(args.length === 0 || args[2] === loop).toBe(true)
          continue
        }
        const before = known.get(`${name} ${number}`) ?? {
          pid,
          startTicks,
          count: Number(number.slice('0.000000'.length)),
        }
        expect({ pid, startTicks }).toEqual({ pid: before.pid, startTicks: before.startTicks })
        known.set(`${name} ${number}`, before)
        latest = Math.max(latest, before.count)
      }
    }
    // It was a storm, and some of it was seen.
    expect(latest).toBeGreaterThan(LISTINGS / 2)
    for (const name of names) {
      const own = [...known].filter(([key]) => key.startsWith(`${name} `)).map(([, value]) => value)
      const ticks = own.sort((a, b) => a.count - b.count).map(({ startTicks }) => startTicks)
      expect(ticks).toEqual(ticks.toSorted((a, b) => a - b))
    }
  } finally {
    for (const child of storm) await child[Symbol.asyncDispose]()
  }
}, 300_000)

/** Lists one pid over and over, and says which rows were of two processes, and of how many processes rows were. */
const reader = (pid: number): string => `
  import { ps } from 'fancyproc'
  const pids = Array(64).fill(${String(pid)})
  const wrong = [], owners = new Set()
  let over = false
  process.stdin.resume().once('data', () => (over = true))
  console.log('ready')
  while (!over) {
    for (const { uid, args, executable } of await ps({ pids, fields: ['startTicks', 'uid', 'args', 'executable'] })) {
      const whose = [uid.real - 60000, args.at(-1), executable].join()
      owners.add(whose)
      // It begins as root's, with what its maker runs.
      if (!/^(-60000,|1,(?!2)|2,(?!1))/.test(whose)) wrong.push(whose)
    }
  }
  console.log(JSON.stringify({ wrong, owners: [...owners] }))
  process.exit()
`

on({ user: 'root' }).test(
  'one pid, again and again: no row is of two processes',
  async () => {
    const free = spawn('true', [], { stdio: 'ignore' })
    const { pid = 0 } = await free.spawned
    await free.exited
    const owner = async (turn: number): Promise<Process> => {
      const uid = 60_001 + (turn % 2)
      const args = ['-c', 'read x', 'owner', String(uid - 60_000)]
      const child = spawn('sh', args, {
        stdio: ['pipe', 'ignore', 'ignore'],
        setTid: [pid],
        steps: [setresuid(uid, uid, uid)],
      })
      await child.spawned
      return child
    }
    const listing = nodeSpawn(process.execPath, script(reader(pid)), {
      cwd: root,
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const lines = createInterface(listing.stdout)[Symbol.asyncIterator]()
    try {
      expect((await lines.next()).value).toBe('ready')
      for (let turn = 0; turn < LISTINGS; turn++) {
        const child = await owner(turn)
        await sleep(patient(2))
        // It stops between two of its calls, most often within a row, and goes on when the pid is another's.
        listing.kill('SIGSTOP')
        while (stat(listing.pid)[0] !== 'T') await sleep(1)
        child.kill('SIGKILL')
        await child.exited
        const next = await owner(turn + 1)
        listing.kill('SIGCONT')
        await sleep(patient(2))
        next.kill('SIGKILL')
        await next.exited
      }
      listing.stdin.write('\n')
      const { wrong, owners } = JSON.parse(String((await lines.next()).value)) as Record<string, string[]>
      expect(wrong).toEqual([])
      expect(owners?.map((whose) => whose[0])).toEqual(expect.arrayContaining(['1', '2']))
    } finally {
      listing.kill('SIGKILL')
    }
  },
  120_000,
)
