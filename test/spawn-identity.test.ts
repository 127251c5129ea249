// Whose identity a spawn has: the process's, whichever of its threads asks and whatever that has made of itself.
import { expect } from '@jest/globals'
import { readlinkSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { command } from './support/fork.ts'
import { on } from './support/machine.ts'

const program = fileURLToPath(new URL('programs/identity.mjs', import.meta.url))

on({ user: 'root' }).test('a Worker that has changed itself and spawned first changes no spawn', async () => {
  const { stdout, stderr, code } = await command(process.execPath, [program])
  expect({ stderr, code }).toEqual({ stderr: '', code: 0 })
  expect(JSON.parse(stdout)).toEqual([`0 ${readlinkSync('/proc/self/ns/uts')} NoNewPrivs: 0`])
})
