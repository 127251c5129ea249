// examples/judge.ts, and programs that mean harm.
import { afterAll, beforeAll, expect } from '@jest/globals'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { ps } from 'fancyproc'
import { command } from './support/fork.ts'
import { rights } from './support/isolated.ts'
import { facts, on, patient } from './support/machine.ts'
import { scratch } from './support/scratch.ts'

const path = scratch()
/** Nobody else's sleep. */
const long = `sleep 1000.${String(process.pid)}`
const full = facts.user === 'root' && ['memory', 'pids'].every((name) => facts.controllers.includes(name))

const programs: Record<string, [text: string, verdict: string, stdout?: string]> = {
  'right.sh': ['read a b; echo $((a + b))', 'ok', '"5\\n"'],
  'wrong.sh': ['exit 3', 'exit 3'],
  // A program that is the first of its pid namespace could not.
  'abort.sh': ['kill -ABRT $$', 'SIGABRT'],
  'absent.py.sh': ['exec /nowhere', 'exit 127'],
  'kill0.sh': ['kill -9 0', 'SIGKILL'],
  'killall.sh': ['kill -9 -1', 'exit 1'],
  'daemon.sh': [`(setsid ${long} &) >/dev/null 2>&1 </dev/null; echo gone`, 'ok', '"gone\\n"'],
  'loud.sh': ['while :; do echo ----------------------------------------------------------------; done', 'output limit'],
  'disk.sh': ['head -c 100000000 /dev/zero >x; [ $(stat -c %s x) -lt 20000000 ] && echo less', 'ok', '"less\\n"'],
  'hog.pl': ['my $x = "x" x (1 << 29); print length $x', full ? 'memory limit' : 'exit 12', '""'],
  'snoop.sh': [
    'cat /etc/shadow; echo /*; [ -w /proc/sys/kernel/core_pattern ] && echo writable; grep CapEff /proc/self/status; id -u',
    'ok',
    '"/bin /dev /lib /lib64 /proc /usr /wor..."',
  ],
  'capable.sh': ['mount -t tmpfs x /work || grep CapEff /proc/self/status', 'ok', '"CapEff:\\t0000000000000000\\n"'],
  'sysctl.sh': ['[ -w /proc/sys/kernel/core_pattern ] || id -u', 'ok', '"1000\\n"'],
} // prettier-ignore

const slow: typeof programs = {
  'busy.sh': ['while :; do :; done', 'time limit'],
  'deaf.sh': ['trap "" TERM; while :; do sleep 1; done', 'time limit'],
  // Whoever cannot fork ends: the last one needs not to.
  'bomb.sh': ['b() { b | b & }; (b); exec sleep 1000', 'time limit'],
}

beforeAll(() => {
  chmodSync(path(), 0o755)
})

async function verdicts(all: typeof programs, seconds: number): Promise<Record<string, [string, string]>> {
  for (const [name, [text]] of Object.entries(all)) writeFileSync(path(name), text)
  writeFileSync(path('input'), '2 3\n')
  const files = Object.keys(all).map((name) => path(name))
  const judge = [
    process.execPath,
    'dist/examples/judge.js',
    '--seconds',
    String(seconds),
    '--megabytes',
    '64',
  ]
  const { code, stdout, stderr } = await command('sh', [
    ...['-c', '"$@" <"$0"', path('input')],
    ...judge,
    ...files,
  ])
  expect({ code, stderr: stderr.replace(/^limits of each process only: .*\n( {2}hint: .*\n)?/, '') }).toEqual(
    { code: 0, stderr: expect.not.stringMatching(/Error/) as unknown },
  )
  const lines = stdout.trimEnd().split('\n').map((line) => /^(\S+) +(.*?) +\d+ ms +(.*)$/.exec(line)) // prettier-ignore
  return Object.fromEntries(lines.map((parts) => [parts?.[1], [parts?.[2], parts?.[3]]])) as never
}

const left = async (): Promise<string[]> =>
  (await ps({ fields: ['args'] })).map(({ args }) => args.join(' ')).filter((args) => args === long)

on(rights).test(
  'programs that mean harm, and the judge goes on',
  async () => {
    const found = await verdicts(programs, patient(3000) / 1000)
    for (const [name, [, verdict, said]] of Object.entries(programs)) {
      expect([name, found[name]]).toEqual([name, [verdict, said ?? (expect.any(String) as unknown)]])
    }
    expect(await left()).toEqual([])
  },
  60_000,
)

on(rights).test(
  'programs that do not end',
  async () => {
    const found = await verdicts(slow, patient(400) / 1000)
    expect(Object.values(found).map(([verdict]) => verdict)).toEqual(Array(3).fill('time limit'))
  },
  60_000,
)

// It is in the README as it is.
on({}).test('examples/first.ts is what the README shows', () => {
  const at = (name: string): string => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8')
  expect(at('README.md')).toContain(at('examples/first.ts').trimEnd())
})
afterAll(async () => {
  expect(await left()).toEqual([])
})
