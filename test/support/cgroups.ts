// What the tests of cgroups share: a cgroup of their own to work in, processes to put there, and errors.
import { afterAll, afterEach, beforeAll, expect } from '@jest/globals'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Cgroup, type CgroupFiles, cgroups } from 'fancyproc'
import { facts } from './machine.ts'

/** Where the v2 hierarchy is mounted. */
export const root = facts.cgroupRoot ?? ''

/** All that the tests of a file make is below it. */
export const scratch = join(root, `fancyproc-test-${String(process.pid)}`)

/** One of them. */
export function make(name: string, files: CgroupFiles = {}, options: object = {}): Promise<Cgroup> {
  return cgroups.create(name, files, { parent: scratch, ...options })
}

/** Makes `scratch` before the tests of a `describe`, and expects it empty after them. */
export function useScratch(): void {
  beforeAll(() => {
    mkdirSync(scratch)
  })
  afterAll(async () => {
    const leftovers = directories(scratch)
    await (await cgroups.open(scratch)).remove({ kill: true })
    expect(leftovers).toEqual([])
  })
}

const started: ChildProcess[] = []

/** To be killed after the test. */
export function endAfter<Child extends ChildProcess>(child: Child): Child {
  started.push(child)
  return child
}

afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL')
})

export function sleeper(): ChildProcess & { pid: number } {
  const child = endAfter(spawn('sleep', ['1000'], { stdio: 'ignore' }))
  if (child.pid === undefined) throw new Error('sleep did not start')
  return child as ChildProcess & { pid: number }
}

export async function thrown(action: Promise<unknown>): Promise<Error & Record<string, unknown>> {
  try {
    await action
  } catch (error) {
    return error as Error & Record<string, unknown>
  }
  throw new Error('nothing was thrown')
}

export function thrownBy(action: () => unknown): Error & Record<string, unknown> {
  try {
    action()
  } catch (error) {
    return error as Error & Record<string, unknown>
  }
  throw new Error('nothing was thrown')
}

export function directories(path: string): string[] {
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
}

/** The directory of a process in the v2 hierarchy, by the kernel; the mount's root is taken for the hierarchy's. */
export function membership(pid: number): string {
  const path = /^0::(.*)$/m.exec(readFileSync(`/proc/${String(pid)}/cgroup`, 'utf8'))?.[1] ?? ''
  return join(root, path).replace(/\/$/, '')
}
