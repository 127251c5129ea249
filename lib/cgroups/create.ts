import { promises as fs } from 'node:fs'
import { invalid, show } from '../errors.ts'
import { Cgroup } from './cgroup.ts'
import { directoryOf, openDirectory } from './open.ts'
import { checkFile, checkName, kernelError, writeFile } from './files.ts'
import { controllerOf } from './interface.ts'
import { enable } from './controllers.ts'
import { defaultParent } from './delegation.ts'
import { ownPrefix, parseOwner } from './owner.ts'
import { sweep } from './sweep.ts'
import { type CgroupFiles, writesOf } from './values.ts'

export interface CreateOptions {
  /** Where the directory goes. Default: the caller's own cgroup, or the nearest above it where permissions and rules allow. */
  parent?: Cgroup | string | undefined
  /**
   * It outlives its creator: its directory has the plain name, disposing of it closes the fd only, and no sweep takes it.
   * Default: false.
   */
  detached?: boolean | undefined
  /** Before the first one is made in a parent: remove the empty ones that dead owners left there. Default: true. */
  sweep?: boolean | undefined
}

const swept = new Set<string>()

/**
 * `mkdir(2)` below a cgroup, and a write(2) for each file: `create('demo', { 'memory.max': 64 << 20 })`. The
 * controllers of these files are enabled from the root of the hierarchy downwards, and stay enabled. Failing at any
 * point, it removes the directory again. The name of the directory carries this process's identity (see `sweep()`),
 * unless it is detached. Since Linux 4.5.
 *
 * Acts on: the hierarchy. Needs write permission on the cgroup above: root, or whom a subtree was delegated to.
 *
 * | errno          | when |
 * |----------------|------|
 * | EEXIST         | there is one of that name |
 * | EACCES         | an ordinary user needs a delegated subtree |
 * | EBUSY          | the parent has processes of its own, and controllers are needed (no internal processes) |
 * | ENOENT         | the hierarchy doesn't have the controller, or the kernel no such file |
 * | EAGAIN         | cgroup.max.descendants or cgroup.max.depth of a cgroup above |
 * | EINVAL, ERANGE | the kernel does not take a value |
 * | EROFS          | cgroup2 is mounted read-only |
 *
 * See Documentation/admin-guide/cgroup-v2.
 */
export async function create(
  name: string,
  files: CgroupFiles = {},
  options: CreateOptions = {},
): Promise<Cgroup> {
  checkName(name, 'name')
  const { parent: given, detached = false } = checkOptions(options)
  const writes = checkFiles(files)
  if (detached && parseOwner(name))
    throw invalid('name', `a sweep would take it for an orphan: ${show(name)}`)
  const directory = detached ? name : `${await ownPrefix()}${name}`
  if (Buffer.byteLength(directory) > 255)
    throw invalid('name', `longer than a directory's name: ${show(directory)}`)

  const controllers = [
    ...new Set(writes.map(([file]) => controllerOf(file)).filter((one) => one !== undefined)),
  ]
  const parent = given === undefined ? await defaultParent(controllers) : await directoryOf(given, 'parent')
  if (options.sweep !== false && !swept.has(parent)) {
    swept.add(parent)
    // Tidying: whatever stays is no reason not to create.
    await sweep({ parent }).catch(() => undefined)
  }
  await enable(parent, controllers)
  return make(`${parent}/${directory}`, writes, !detached)
}

async function make(
  path: string,
  writes: readonly (readonly [string, string])[],
  owned: boolean,
): Promise<Cgroup> {
  try {
    await fs.mkdir(path)
  } catch (error) {
    throw kernelError(
      error,
      {},
      {
        EEXIST: 'there is one of that name: open() it, or take another name',
        EACCES: 'an ordinary user needs a subtree that was delegated to him',
        EAGAIN: 'cgroup.max.depth or cgroup.max.descendants of a cgroup above is reached',
      },
    )
  }
  try {
    for (const [file, value] of writes) await writeFile(path, file, value)
    return new Cgroup(path, openDirectory(path), owned)
  } catch (error) {
    await fs.rmdir(path).catch(() => undefined)
    throw kernelError(error)
  }
}

function checkFiles(files: unknown): (readonly [string, string])[] {
  if (typeof files !== 'object' || files === null || Array.isArray(files)) {
    throw invalid('files', `expected an object such as { 'pids.max': 16 }, got ${show(files)}`)
  }
  return Object.entries(files as Record<string, unknown>).flatMap(([file, value]) =>
    writesOf(checkFile(file, 'files'), value, `files['${file}']`).map((text) => [file, text] as const),
  )
}

const known = ['parent', 'detached', 'sweep']

function checkOptions(options: unknown): CreateOptions {
  if (typeof options !== 'object' || options === null)
    throw invalid('options', `expected an object, got ${show(options)}`)
  for (const [key, value] of Object.entries(options) as [string, unknown][]) {
    if (!known.includes(key)) throw invalid(`options.${key}`, `no such option; known are ${known.join(', ')}`)
    if (key !== 'parent' && value !== undefined && typeof value !== 'boolean') {
      throw invalid(`options.${key}`, `expected a boolean, got ${show(value)}`)
    }
  }
  return options
}
