// examples/nsenter.ts beside nsenter(1), on the same processes.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Process, run, spawn } from 'fancyproc'
import { type Namespace, namespaces, sethostname } from 'fancyproc/steps'
import { command, type Forked } from './support/fork.ts'
import { isolated, rights } from './support/isolated.ts'
import { facts, on, patient } from './support/machine.ts'
import { byBwrap, byNspawn, byRunc, byUnshare, type Peer } from './support/peers.ts'
import { namespace } from './support/proc.ts'
import { scratch } from './support/scratch.ts'

const path = scratch()
const root = facts.user === 'root'

const ours = 'dist/examples/nsenter.js'
const nsenter = (...args: string[]): Promise<Forked> => command(process.execPath, [ours, ...args])

/** Where a shell finds itself, and as whom. */
const whereabouts = `
  pwd; stat -c '%d %i' / .; hostname; grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs)' /proc/self/status
  cat /proc/self/mountinfo; for kind in ${namespaces.join(' ')}; do readlink /proc/self/ns/$kind; done`

const flags: Record<Namespace, string> = {
  mnt: '-m', uts: '-u', ipc: '-i', net: '-n', pid: '-p', user: '-U', cgroup: '-C', time: '-T',
} // prettier-ignore

const makers: [string, Parameters<typeof on>[0], () => Promise<Peer>][] = [
  ['unshare', { tools: 'unshare', userns: true }, () => byUnshare('-U', '-r', '-m', '-u', '-i', '-n', '-p', '-C', '-T', '--mount-proc')],
  ['bwrap', { tools: 'bwrap', userns: true }, () => byBwrap('--uid', root ? '7' : '0', '--gid', root ? '8' : '0')],
  ['runc', { tools: 'runc', user: 'root' }, () => byRunc(path('runc'))],
  ['systemd-nspawn', { tools: 'systemd-nspawn', user: 'root' }, byNspawn],
] // prettier-ignore

for (const [name, machine, make] of makers) {
  on({ ...machine }).describe(`in what ${name} has isolated`, () => {
    let peer: Peer
    beforeAll(async () => {
      peer = await make()
    })
    afterAll(() => peer.end())

    /** Of those that it does not share with us: nsenter(1) refuses one's own user namespace. */
    const others = (): string[] =>
      namespaces
        .filter((kind) => namespace('self', kind) !== namespace(peer.pid, kind))
        .map((kind) => flags[kind])

    const cases: [string, () => string[]][] = [
      ['each by its letter', () => [...others(), '--preserve-credentials']],
      ['its root and working directory', () => [...others(), '--preserve-credentials', '-r', '-w']],
      ['a working directory in there', () => [...others(), '--preserve-credentials', '-r', '--wdns=/proc']],
      ['only the root', () => [...others(), '--preserve-credentials', '--root']],
      ['root in there, where that may be', others],
      ['by files', () => others().map((flag) => `${flag}/proc/${String(peer.pid)}/ns/${kindOf(flag)}`)],
      // Where -a is for an ordinary user nsenter(1) fails at a time namespace that he has not left.
      ...(root ? ([['all', () => ['-a', '--preserve-credentials', '-r', '-w']]] as const) : []),
      ...(root ? ([['other ids', () => ['-a', '-S', '7', '-G', '8', '-r']]] as const) : []),
    ] as [string, () => string[]][]
    test.each(cases)('%s', async (_, options) => {
      const args = ['--target', String(peer.pid), ...options(), '--', 'sh', '-c', whereabouts]
      const [mine, wanted] = [await nsenter(...args), await command('nsenter', args)]
      expect([mine.stdout, mine.code]).toEqual([wanted.stdout, wanted.code])
      expect([mine.code, mine.stdout.split('\n').length > 15]).toEqual(
        wanted.code === 0 ? [0, true] : [1, false],
      )
    })
  })
}

const kindOf = (letter: string): string =>
  Object.entries(flags).find(([, flag]) => flag === letter)?.[0] ?? ''

on(rights).describe('a process of our own', () => {
  let victim: Process
  let there: string[]
  beforeAll(async () => {
    const options = isolated(['uts', 'pid', 'mnt'], sethostname('inside'))
    victim = await spawn('sleep', ['1000'], { stdio: 'ignore', env: { ONLY: 'this' }, ...options }).spawned
    const user = root ? [] : ['--user', '--preserve-credentials']
    there = ['-t', String(victim.pid), ...user, '--uts', '--pid', '--mount']
  })
  afterAll(() => victim[Symbol.asyncDispose]())

  test('exit status, also of what a signal ends or is not there', async () => {
    const file = path('not-executable')
    writeFileSync(file, '')
    for (const [program, ...args] of [
      ['sh', '-c', 'exit 7'],
      ['sh', '-c', 'kill -KILL $$'],
      ['sh', '-c', 'kill -TERM $$'],
      ['nosuch'],
      [file],
    ] as [string, ...string[]][]) {
      const mine = await nsenter(...there, program, ...args)
      const wanted = await command('nsenter', [...there, program, ...args])
      expect([mine.code, mine.signal]).toEqual([wanted.code, wanted.signal])
    }
  })

  test('standard input, output and errors are ours', async () => {
    const text = 'read line; echo "$line $(hostname)"; echo wrong >&2; exit 3'
    const { stdout, stderr, code } = await run(process.execPath, [ours, ...there, 'sh', '-c', text], {
      input: 'hello\n',
      env: process.env,
    })
    expect([stdout, stderr, code]).toEqual(['hello inside\n', 'wrong\n', 3])
  })

  test('its environment, when that is asked for', async () => {
    const { stdout } = await nsenter(...there, '-e', '/usr/bin/env')
    expect(stdout).toBe('ONLY=this\n')
    expect((await nsenter(...there, 'env')).stdout).toMatch(/^PATH=/m)
  })

  test('a terminal: its size, its keys, and a shell when no program is named', async () => {
    // Not its pid namespace: at its end dash wants the process group in front that it has found, which there has no number.
    const outside = there.filter((flag) => flag !== '--pid')
    const child = spawn(process.execPath, [ours, ...outside], {
      env: { ...process.env, SHELL: '/bin/sh', PS1: '> ' },
      stdio: 'pty',
      pty: { columns: 91, rows: 33 },
    })
    let output = ''
    child.pty!.on('data', (chunk: Buffer) => (output += String(chunk)))
    const says = async (text: string, type: string): Promise<void> => {
      child.pty!.write(type)
      const late = Date.now() + patient(10_000)
      while (!output.includes(text)) {
        if (Date.now() > late) throw new Error(`no ${text} in ${output}`)
        await sleep(10)
      }
    }
    await says('inside 33 91', 'test -t 0 && echo $(hostname) $(stty size)\r')
    await says('argv0 -sh', 'echo argv0 $0\r')
    await says('waits', `sh -c 'trap "exit 5" INT; echo wai""ts; while :; do sleep 0.1; done'\r`)
    child.pty!.write('\x03')
    await says('it was 5', 'echo it was $?\r')
    child.pty!.write('exit 9\r')
    expect(await child.exited).toMatchObject({ code: 9 })
  })

  on({ user: 'root' }).test('directories of ours', async () => {
    for (const options of [
      // util-linux 2.41 asks for a namespace, and fails where its own directory is outside of the new root.
      ['--root=/usr', '-w/usr/share', '-u', `-t${String(process.pid)}`],
      ['-w/usr', '-i', `-t${String(process.pid)}`],
      ['-w/usr/share', '-u', `-t${String(process.pid)}`],
    ]) {
      const args = [...options, '/bin/sh', '-c', 'pwd; stat -c "%d %i" / .; hostname']
      const [mine, wanted] = [await nsenter(...args), await command('nsenter', args)]
      expect([mine.stdout, mine.code]).toEqual([wanted.stdout, wanted.code])
      expect(mine.code).toBe(0)
    }
  })
})

describe('mistakes', () => {
  test.each([
    [['-x'], /^nsenter: unknown option -x\n\nUsage: /],
    [['-a'], /^nsenter: whose\? -t PID\n$/],
    [['-t', 'init', '-a'], /^nsenter: no number: init\n$/],
    [['-t'], /^nsenter: -t takes a value\n$/],
    [['-t', '2147483647', '-a', 'true'], /^nsenter: ESRCH: /],
  ])('%j', async (args, message) => {
    const { code, stdout, stderr } = await nsenter(...args)
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(message)
  })

  test('help', async () => {
    expect(await nsenter('--help')).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Usage: /) })
  })
})
