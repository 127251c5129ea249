// docker exec, top and inspect: the built program, beside what the kernel says of who is in there.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ps, run, spawn } from 'fancyproc'
import { command, type Forked, root } from './support/fork.ts'
import { facts, on, patient } from './support/machine.ts'
import { asleep, fds, strings } from './support/proc.ts'
import { scratch } from './support/scratch.ts'

const ordinary = facts.user === 'ordinary'
const path = scratch()
const main = join(root, 'dist/examples/docker/main.js')
const environment = (): NodeJS.ProcessEnv => ({ ...process.env, FANCYPROC_DOCKER_STATE: path('state') })

const docker = (...args: string[]): Promise<Forked> =>
  command(process.execPath, [main, ...args], environment())

const fields = [
  'pid', 'namespaces', 'cgroup', 'cgroupsV1', 'label', 'uid', 'gid', 'groups', 'capabilities', 'noNewPrivs', 'seccomp', 'args',
] as const // prettier-ignore

on(ordinary ? { userns: true } : {}).describe('in what run -d has left', () => {
  let first: number
  beforeAll(async () => {
    const started = await docker('run', '-d', '-e', 'GIVEN=by run', '--name', 'one', 'rhel7', 'sleep', '1000')
    expect(started.code).toBe(0)
    const [{ pid }] = JSON.parse((await docker('inspect', 'one')).stdout) as [{ pid: number }]
    first = pid
  })
  afterAll(async () => {
    expect((await docker('rm', '-f', 'one')).code).toBe(0)
    expect(readdirSync(path())).not.toContain('state')
  })

  /** The processes in there, but for the first. */
  async function others(): Promise<Awaited<ReturnType<typeof ps<(typeof fields)[number]>>>> {
    const all = await ps({ fields })
    const inside = all.find(({ pid }) => pid === first)?.namespaces.pid
    return all.filter(({ pid, namespaces }) => namespaces.pid === inside && pid !== first)
  }

  test('it is in the cgroup, namespaces, ids, capabilities and label of the first', async () => {
    const cli = spawn(process.execPath, [main, 'exec', 'one', 'sleep', '999'], { env: environment() })
    let found = await others()
    const late = Date.now() + patient(20_000)
    while (found[0]?.args[0] !== 'sleep' && Date.now() < late) {
      await sleep(20)
      found = await others()
    }
    expect(found.map(({ args }) => args)).toEqual([['sleep', '999']])
    const pid = found[0]?.pid ?? 0
    const own = fields.filter((field) => field !== 'pid' && field !== 'args')
    const [[its], [wanted]] = [
      await ps({ fields: own, pids: [pid] }),
      await ps({ fields: own, pids: [first] }),
    ]
    expect(its).toEqual(wanted)
    expect(its).toBeDefined()
    expect(strings(pid, 'environ')).toContain('GIVEN=by run')
    // What comes from us are three streams.
    await asleep(pid)
    expect(Object.keys(fds(pid))).toEqual(['0', '1', '2'])
    const top = (await docker('top', 'one')).stdout
    expect(top).toMatch(new RegExp(`^\\S+ +${String(first)} .* sleep 1000$`, 'm'))
    expect(top).toMatch(new RegExp(`^\\S+ +${String(pid)} .* sleep 999$`, 'm'))
    const [{ inside }] = JSON.parse((await docker('inspect', 'one')).stdout) as [
      { inside: { kind: string; pids: number[] }[] },
    ]
    expect(inside.find(({ kind }) => kind === 'pid')?.pids).toEqual([first, pid].sort((a, b) => a - b))
    process.kill(pid, 'SIGKILL')
    expect(await cli.exited).toMatchObject({ code: 137 })
  })

  test('what it sees in there', async () => {
    const text = 'pwd; hostname; readlink /proc/1/ns/mnt; readlink /proc/self/ns/mnt; cat /proc/1/comm; ls /'
    const { stdout, code } = await docker('exec', 'one', 'sh', '-c', text)
    const [pwd, hostname, theirs, ours, comm, ...names] = stdout.trimEnd().split('\n')
    expect([code, pwd, comm, ours]).toEqual([0, '/', 'sleep', theirs])
    expect(hostname).toMatch(/^[0-9a-f]{12}$/)
    expect(names).toEqual(expect.arrayContaining(['dev', 'proc', 'tmp']))
  })

  test('exit status, standard input if it is asked for', async () => {
    expect(await docker('exec', 'one', 'sh', '-c', 'echo out; echo err >&2; exit 7')).toMatchObject({
      code: 7,
      stdout: 'out\n',
      stderr: 'err\n',
    })
    const fed = (...flags: string[]): Promise<{ stdout: string }> =>
      run(process.execPath, [main, 'exec', ...flags, 'one', 'cat'], { env: environment(), input: 'fed' })
    expect([(await fed('-i')).stdout, (await fed()).stdout]).toEqual(['fed', ''])
    expect(await docker('exec', 'one', 'nosuch')).toMatchObject({ code: 127 })
    expect(await docker('exec', 'one', '/etc/passwd')).toMatchObject({ code: 126 })
  })

  test('environment and working directory', async () => {
    const { stdout } = await docker(
      ...['exec', '-e', 'ADDED=here', '-e', 'GIVEN=again', '-w', '/tmp', 'one'],
      ...['sh', '-c', 'echo $ADDED $GIVEN $PWD $HOSTNAME'],
    )
    expect(stdout).toMatch(/^here again \/tmp [0-9a-f]{12}\n$/)
    const lost = await docker('exec', '-w', '/no/where', 'one', 'true')
    expect([lost.code, lost.stderr]).toEqual([125, expect.stringMatching(/ENOENT.*'\/no\/where'/)])
  })

  test('-t: a terminal of its own in there, with our size, and keys that arrive', async () => {
    const cli = spawn(
      process.execPath,
      [main, 'exec', '-it', 'one', 'sh', '-c', 'tty; stty size; trap "exit 5" INT; echo ready; while :; do sleep 0.1; done'],
      { env: environment(), stdio: 'pty', pty: { columns: 95, rows: 31 } },
    ) // prettier-ignore
    let output = ''
    cli.pty!.on('data', (chunk: Buffer) => (output += String(chunk)))
    const late = Date.now() + patient(20_000)
    while (!output.includes('ready') && Date.now() < late) await sleep(20)
    expect(output).toMatch(/^\/dev\/pts\/\d\r\n31 95\r\nready/)
    cli.pty!.write('\x03')
    expect(await cli.exited).toMatchObject({ code: 5 })
    const refused = await docker('exec', '-it', 'one', 'true')
    expect(refused).toMatchObject({ code: 1, stderr: 'docker: the input device is not a TTY\n' })
  })

  test('-u: names of the files in there, and no capabilities for who is not root', async () => {
    const shown = 'id -u; id -g; grep -E "^(Groups|Cap)" /proc/self/status'
    const asRoot = await docker('exec', '-u', 'root', 'one', 'sh', '-c', shown)
    const plain = await docker('exec', 'one', 'sh', '-c', shown)
    expect([asRoot.code, asRoot.stdout]).toEqual([0, plain.stdout])
    const other = await docker('exec', '-u', '65534:12', 'one', 'sh', '-c', shown)
    // In an ordinary user's namespace there are no other ids.
    if (ordinary) expect([other.code, other.stderr]).toEqual([125, expect.stringContaining('EINVAL')])
    else
      expect(other.stdout).toMatch(
        /^65534\n12\nGroups:\s+\nCapInh:\t0+\nCapPrm:\t0+\nCapEff:\t0+\nCapBnd:\t0*a0/,
      )
    const nobody = await docker('exec', '-u', 'nosuch', 'one', 'true')
    expect(nobody).toMatchObject({ code: 1, stderr: 'docker: --user nosuch: there is none in there\n' })
  })
})

describe('of what is not there', () => {
  test('exec', async () => {
    const says = async (...args: string[]): Promise<unknown[]> => {
      const { code, stderr } = await docker(...args)
      return [code, stderr.trimEnd()]
    }
    expect(await says('exec', 'nosuch', 'true')).toEqual([1, 'docker: No such container: nosuch'])
    expect(await says('exec', 'nosuch')).toEqual([1, "docker: 'docker exec' takes a container and a program"])
    expect(await says('exec', '--nonsense', 'x', 'y')).toEqual([1, expect.stringContaining("'--nonsense'")])
  })

  test('usage: exec, top and inspect', async () => {
    const { stdout } = await docker('help')
    for (const word of ['exec', 'top', 'inspect']) expect(stdout).toMatch(new RegExp(`^  ${word} `, 'm'))
    expect((await docker('exec', '--help')).stdout).toMatch(
      /^Usage: docker exec \[OPTIONS\] CONTAINER COMMAND/,
    )
  })

  on(ordinary ? { userns: true } : {}).test('what has ended', async () => {
    await docker('run', '--name', 'over', 'rhel7', 'true')
    const { code, stderr } = await docker('exec', 'over', 'true')
    expect([code, stderr]).toEqual([1, 'docker: over is not running\n'])
    expect(await docker('top', 'over')).toMatchObject({ code: 1, stderr: 'docker: over is not running\n' })
    await docker('rm', 'over')
  })
})
