// ps() while processes come and go, and while one pid goes from process to process.
import { expect, test } from '@jest/globals'
import { type Process, ps, spawn } from 'fancyproc'
import { setresuid } from 'fancyproc/steps'
import { on, scaled } from './support/machine.ts'

const LISTINGS = scaled(100)

test('a fork storm: no exception, no wrong row', async () => {
  // Each child says in its arguments which one it is, without effect; 25 at a time.
  const loop = 'i=0; while :; do i=$((i+1)); sleep $0 0.000000$i & [ $((i % 25)) -gt 0 ] || wait; done'
  const names = ['0.03', '0.031']
  const storm = names.map((name) => spawn('sh', ['-c', loop, name], { stdio: 'ignore' }))
  try {
    const shells = await Promise.all(storm.map(async (child) => (await child.spawned).pid ?? 0))
    const [first] = await ps({ pids: shells, fields: ['startTicks'] })
    const known = new Map<string, { pid: number; startTicks: number; count: number }>()
    let latest = 0
    for (let i = 0; i < LISTINGS; i++) {
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
}, 120_000)

on({ user: 'root' }).test(
  'one pid, again and again: no row is of two processes',
  async () => {
    const free = spawn('true', [], { stdio: 'ignore' })
    const { pid = 0 } = await free.spawned
    await free.exited
    let over = false
    const owners = [
      { uid: 60_001, name: 'first' },
      { uid: 60_002, name: 'second' },
    ]
    let turns = 0
    const takeTurns = async (): Promise<void> => {
      while (!over) {
        for (const { uid, name } of owners) {
          const options = { stdio: 'ignore', setTid: [pid], steps: [setresuid(uid, uid, uid)] } as const
          const child: Process = spawn('sh', ['-c', ':', name], options)
          await child.exited
          turns++
        }
      }
    }
    const turning = takeTurns()
    const pids = Array.from({ length: 200 }, () => pid)
    const seen = { first: 0, second: 0, starts: new Set<number>() }
    try {
      while (turns < 2 * LISTINGS) {
        for (const { uid, args, startTicks } of await ps({ pids, fields: ['uid', 'args', 'startTicks'] })) {
          const { name } = owners.find((owner) => owner.uid === uid.real) ?? {}
          const whose = args[3]
          // It begins as root's, with the command line of whoever made it, and ends with none.
          if (whose === 'first' || whose === 'second') {
            expect([name, undefined]).toContain(name === undefined ? undefined : whose)
            seen[whose]++
          }
          seen.starts.add(startTicks)
        }
      }
    } finally {
      over = true
      await turning
    }
    expect(Math.min(seen.first, seen.second)).toBeGreaterThan(0)
    expect(seen.starts.size).toBeGreaterThan(2)
  },
  120_000,
)
