// A child that the OOM killer takes in the middle of its setup: told apart from one whose program was killed.
import { expect } from '@jest/globals'
import { cgroups, spawn } from 'fancyproc'
import { makePrivate, mount, writeFile } from 'fancyproc/steps'
import { on } from './support/machine.ts'

on({ user: 'root', cgroup: 'v2-any', controllers: ['memory'] }).test(
  'is told with the step it died in',
  async () => {
    await using cgroup = await cgroups.create('oom', { 'memory.max': 4 << 20 })
    const child = spawn('true', [], {
      cgroup,
      namespaces: ['mnt'],
      // What is written to a tmpfs is memory of the writer's cgroup.
      steps: [
        makePrivate('/', { recursive: true }),
        mount({ source: 'tmpfs', target: '/mnt', type: 'tmpfs' }),
        writeFile('/mnt/much', Buffer.alloc(16 << 20, 1), { flags: ['O_CREAT'], mode: 0o600 }),
      ],
    })
    await expect(child.exited).rejects.toMatchObject({
      code: 'SIGKILL',
      signal: 'SIGKILL',
      reason: 'oom_kill',
      step: 2,
      syscall: 'write',
    })
    expect(await cgroup.oomKills()).toBeGreaterThan(0)
  },
)
