import { promises as fs } from 'node:fs'
import { basename } from 'node:path'
import { inspect } from 'node:util'
import type { Changes } from '../changes.ts'
import { invalid, show } from '../errors.ts'
import type { Fd } from '../fd.ts'
import {
  type PressureLevel,
  type PressureResource,
  type Pressures,
  type TriggerOptions,
  watchPressure,
} from '../pressure.ts'
import { integer } from '../steps/arguments.ts'
import { disable, enable } from './controllers.ts'
import { delegate } from './delegation.ts'
import { type DeviceProgram, devicePrograms, type DeviceRule, setDevices, unsetDevices } from './devices.ts'
import {
  type CgroupEvents,
  checkWait,
  readEvents,
  setFrozen,
  untilEvents,
  type WaitOptions,
} from './events.ts'
import { type CgroupValue, checkFile, checkValue, failure, readFile, writeFile } from './files.ts'
import { kill } from './kill.ts'
import { oomKills } from './oom.ts'
import { reclaim, type ReclaimOptions } from './reclaim.ts'
import { checkRemove, remove, type RemoveOptions } from './remove.ts'
import { makeThreaded } from './threads.ts'
import { assertNoMount } from './tree.ts'
import {
  type AcceptedValue,
  type FileValue,
  getFile,
  type GivenValue,
  type ReadableFile,
  setFile,
  type WritableFile,
} from './values.ts'
import { type EventChange, type EventFile, watchEvents } from './watch.ts'
import { Watched } from './watched.ts'

/**
 * A cgroup of the v2 hierarchy: a directory, and an fd of it. Made by `cgroups.create()`, `cgroups.open()` and
 * `cgroups.current()`. Disposing of one that `create()` made kills what is in it and removes it; of any other (also of a
 * detached one) closes the fd only.
 *
 * Errors of all methods: ENODEV or ENOENT when the cgroup is gone, EACCES when it belongs to another user.
 * @see Documentation/admin-guide/cgroup-v2
 */
export class Cgroup {
  /** Its directory. */
  readonly path: string
  readonly #directory: Fd
  readonly #owned: boolean
  #removal: Promise<void> | undefined
  #removed = false

  /** @internal */
  constructor(path: string, directory: Fd, owned: boolean) {
    this.path = path
    this.#directory = directory
    this.#owned = owned
  }

  /** The directory's name. */
  get name(): string {
    return basename(this.path)
  }

  /** Its directory's descriptor (O_PATH), for CLONE_INTO_CGROUP; -1 once removed or closed. */
  get fd(): number {
    return this.#directory.fd
  }

  /**
   * `get('memory.max')`: an interface file's value: here a number or 'max'; `get('memory.stat')` has a number for each
   * key. Units are the file's: bytes, µs, per cent, counts. A number beyond 2^53 is the nearest that there is. Since
   * Linux 4.5; of what is newer the error says so.
   *
   * Acts on: this cgroup. Needs no privilege.
   *
   * | errno      | when |
   * |------------|------|
   * | ENOENT     | its controller is not enabled for this cgroup, the kernel is older than the file, or the cgroup is gone |
   * | ENODEV     | the cgroup is gone |
   * | EOPNOTSUPP | cgroup.procs of a threaded cgroup; a file of *.pressure where PSI is off |
   *
   * See Documentation/admin-guide/cgroup-v2.
   */
  async get<Name extends ReadableFile>(file: Name): Promise<FileValue<Name>> {
    return this.#at((at) => getFile(at, file))
  }

  /**
   * `set('memory.max', 64 << 20)`, `set('cpu.max', { quota: 20_000, period: 100_000 })`: writes an interface file,
   * and gives the value that the kernel made of it. Units are the file's. What has several lines takes a write(2) for
   * each: when one fails, those before it stand. Since Linux 4.5.
   *
   * Acts on: this cgroup. Needs write permission on the file: root, or whom the subtree was delegated to.
   *
   * Errnos: those of `write()`, and of `get()`.
   *
   * See Documentation/admin-guide/cgroup-v2.
   */
  async set<Name extends WritableFile>(file: Name, value: GivenValue<Name>): Promise<AcceptedValue<Name>> {
    return this.#at((at) => setFile(at, file, value))
  }

  /**
   * `read('memory.current')`: any interface file, known or not. The text as the kernel gives it. Since Linux 4.5.
   *
   * Acts on: this cgroup. Needs no privilege.
   *
   * Errnos: those of `get()`.
   *
   * See Documentation/admin-guide/cgroup-v2.
   */
  async read(file: string): Promise<string> {
    checkFile(file, 'file')
    return this.#at((at) => readFile(at, file))
  }

  /**
   * `write('memory.max', 64 << 20)`: any interface file, known or not, in one write(2). Units are the file's. Since
   * Linux 4.5.
   *
   * Acts on: this cgroup. Needs write permission on the file: root, or whom the subtree was delegated to.
   *
   * | errno             | when |
   * |-------------------|------|
   * | EINVAL, ERANGE    | the kernel does not take the value |
   * | ENOENT            | its controller is not enabled for this cgroup, the kernel is older than the file, or the cgroup is gone |
   * | ENODEV            | the cgroup is gone; of a file of io or rdma: there is no such device |
   * | EACCES            | it is not the caller's |
   * | EBUSY, EOPNOTSUPP | a rule of the hierarchy: the hint says which |
   * | EROFS             | cgroup2 is mounted read-only |
   *
   * See Documentation/admin-guide/cgroup-v2.
   */
  async write(file: string, value: CgroupValue): Promise<void> {
    const text = checkValue(value, checkFile(file, 'file'))
    return this.#at((at) => writeFile(at, file, text))
  }

  /**
   * `cgroup.controllers`: those that are enabled for this cgroup, and may be for those below it. Since Linux 4.5.
   *
   * Acts on: this cgroup. Needs no privilege.
   *
   * Errnos: those of `get()`.
   *
   * See Documentation/admin-guide/cgroup-v2.
   */
  async controllers(): Promise<string[]> {
    return this.get('cgroup.controllers')
  }

  /**
   * `cgroup.subtree_control`: those that are enabled for the cgroups below. Since Linux 4.5.
   *
   * Acts on: this cgroup. Needs no privilege.
   *
   * Errnos: those of `get()`.
   *
   * See Documentation/admin-guide/cgroup-v2.
   */
  async enabled(): Promise<string[]> {
    return this.get('cgroup.subtree_control')
  }

  /**
   * `cgroup.subtree_control`: makes controllers available to the cgroups below this one, from the root of the
   * hierarchy down. They stay enabled, as others may come to count on them. Since Linux 4.5.
   *
   * Acts on: this cgroup and those above it. Needs write permission on the file of each that lacks one.
   *
   * | errno      | when |
   * |------------|------|
   * | EBUSY      | a cgroup on the way has processes of its own (no internal processes) |
   * | ENOENT     | the hierarchy doesn't have the controller, or the cgroup is gone |
   * | EOPNOTSUPP | the controller can't tell threads apart, and a cgroup on the way is threaded, or the top of a threaded subtree |
   * | EACCES     | a cgroup on the way is not the caller's |
   *
   * See Documentation/admin-guide/cgroup-v2.
   */
  async enable(controllers: readonly string[]): Promise<void> {
    return this.#at(async (at) => enable(await this.#here(at), controllers))
  }

  /**
   * `cgroup.subtree_control`: takes controllers from all cgroups below this one, the deepest first. Their limits are
   * gone with them; this one keeps its own. Since Linux 4.5.
   *
   * Acts on: this cgroup and those below it. Needs write permission on the file of each that has one.
   *
   * | errno          | when |
   * |----------------|------|
   * | EBUSY          | a cgroup below has just enabled it again |
   * | EACCES         | a cgroup below is not the caller's |
   * | ENOENT, ENODEV | the cgroup is gone |
   *
   * See Documentation/admin-guide/cgroup-v2.
   */
  async disable(controllers: readonly string[]): Promise<void> {
    return this.#at(async (at) => disable(await this.#here(at), controllers))
  }

  /**
   * `cgroup.type`: makes it a part of a threaded subtree, for good. The nearest cgroup above that is not threaded is
   * the domain: it has the processes; those below share out their threads, and can have the controllers cpu, cpuset
   * and pids only. A threaded one can not be spawned into. Since Linux 4.14.
   *
   * Acts on: this cgroup. Needs write permission on the file: root, or whom the subtree was delegated to.
   *
   * | errno          | when |
   * |----------------|------|
   * | EOPNOTSUPP     | it has processes, or a cgroup beside it has, or another controller is enabled |
   * | EACCES         | it is not the caller's |
   * | ENOENT, ENODEV | the cgroup is gone |
   *
   * See Documentation/admin-guide/cgroup-v2.
   */
  async makeThreaded(): Promise<void> {
    return this.#at(makeThreaded)
  }

  /**
   * `cgroup.threads`: ids of the threads in this very cgroup. Since Linux 4.14.
   *
   * Acts on: this cgroup. Needs no privilege.
   *
   * Errnos: those of `get()`.
   *
   * See Documentation/admin-guide/cgroup-v2.
   */
  async threads(): Promise<number[]> {
    return this.get('cgroup.threads')
  }

  /**
   * `cgroup.threads`: moves one thread here, from a cgroup of the same threaded subtree. Since Linux 4.14.
   *
   * Acts on: a thread. Needs write permission on the file here, and on that of the nearest cgroup above both.
   *
   * | errno          | when |
   * |----------------|------|
   * | ESRCH          | there is no such thread |
   * | EOPNOTSUPP     | its process belongs to another domain: `add()` that first |
   * | EACCES         | one of the two files is not the caller's |
   * | EBUSY          | controllers are enabled for the cgroups below |
   * | ENOENT, ENODEV | the cgroup is gone |
   *
   * See Documentation/admin-guide/cgroup-v2.
   */
  async addThread(tid: number): Promise<void> {
    const id = String(integer(tid, 'addThread: tid', 1, 2 ** 31 - 1))
    return this.#at((at) => writeFile(at, 'cgroup.threads', id))
  }

  /**
   * `chown(2)` of its directory, and of the files in it that `/sys/kernel/cgroup/delegate` names: the user can make
   * cgroups in it, enable controllers for those, and move processes about within it, but not in or out; its own
   * limits stay out of his reach. Controllers that are enabled later bring files of their own: do it again. Since
   * Linux 4.15.
   *
   * Acts on: this cgroup. Needs CAP_CHOWN.
   *
   * | errno  | when |
   * |--------|------|
   * | EPERM  | no CAP_CHOWN |
   * | ENOENT | sysfs is not mounted at /sys, or the cgroup is gone |
   * | EROFS  | cgroup2 is mounted read-only |
   *
   * See Documentation/admin-guide/cgroup-v2.
   */
  async delegate(uid: number, gid: number): Promise<void> {
    return this.#at((at) => delegate(at, uid, gid))
  }

  /**
   * `cgroup.procs`: pids of the processes in this very cgroup, as this pid namespace sees them; of those outside it
   * the kernel says 0. Since Linux 4.5.
   *
   * Acts on: this cgroup. Needs no privilege.
   *
   * Errnos: those of `get()`.
   *
   * See Documentation/admin-guide/cgroup-v2.
   */
  async procs(): Promise<number[]> {
    return this.get('cgroup.procs')
  }

  /**
   * `cgroup.procs`: moves a process with all its threads here; a spawn into the cgroup is cheaper and has no race.
   * Since Linux 4.5.
   *
   * Acts on: a process. Needs write permission on the file here, and on that of the nearest cgroup above both.
   *
   * | errno      | when |
   * |------------|------|
   * | ESRCH      | there is no such process |
   * | EBUSY      | controllers are enabled for the cgroups below (no internal processes) |
   * | EOPNOTSUPP | its type is 'domain invalid' |
   * | EACCES     | one of the two files is not the caller's |
   * | ENOENT     | it is outside of our cgroup namespace, and cgroup2 is mounted with nsdelegate; or the cgroup is gone |
   * | EINVAL     | it is a kernel thread |
   * | ENODEV     | the cgroup is gone |
   *
   * See Documentation/admin-guide/cgroup-v2.
   */
  async add(process: number | { readonly pid?: number | undefined }): Promise<void> {
    const pid = typeof process === 'number' ? process : process.pid
    if (pid === undefined || !Number.isInteger(pid) || pid <= 0) {
      throw invalid('process', `expected a pid, or a process that has one, got ${show(process)}`)
    }
    return this.#at((at) => writeFile(at, 'cgroup.procs', String(pid)))
  }

  /**
   * `cgroup.events`: whether it has live processes, here or below, and whether all of them are frozen. Since Linux
   * 4.5.
   *
   * Acts on: this cgroup. Needs no privilege.
   *
   * Errnos: those of `get()`.
   *
   * See Documentation/admin-guide/cgroup-v2.
   */
  async events(): Promise<CgroupEvents> {
    return this.#at(readEvents)
  }

  /**
   * `cgroup.events`, `memory.events`, `memory.events.local` (Linux 5.2), `pids.events`, `pids.events.local` (6.11)
   * and the like, by inotify: `for await (const { values, changed } of cgroup.watch('memory.events'))`. What has
   * changed since the call, or since it was told last: changes that come together are told together, and one that is
   * undone meanwhile is not. Ends when the cgroup is removed; throws an AbortError when the signal aborts. Since
   * Linux 4.5.
   *
   * Acts on: this cgroup. Needs no privilege.
   *
   * Errnos: those of `get()`.
   *
   * See Documentation/admin-guide/cgroup-v2.
   */
  watch<File extends EventFile>(file: File, options?: WaitOptions): Changes<EventChange<FileValue<File>>> {
    return watchEvents(new Watched(() => this.#hold()), file, options)
  }

  /**
   * `some 150000 1000000` written to `memory.pressure` (or `cpu.pressure`, `io.pressure`, `irq.pressure`), a PSI
   * trigger: tells the pressure each time that tasks of this cgroup and of those below it were stalled for `stall`
   * microseconds within `window` microseconds (500,000 to 10,000,000). Ends when the cgroup is removed; throws an
   * AbortError when the signal aborts. Since Linux 5.2; irq since 6.1.
   *
   * Acts on: this cgroup. Needs write permission on the file; for a window that is no multiple of 2 s, since Linux
   * 6.5, CAP_SYS_RESOURCE.
   *
   * | errno      | when |
   * |------------|------|
   * | ENOENT     | PSI is off for the machine or (`cgroup.pressure` 0) for this cgroup; or the cgroup is gone |
   * | EOPNOTSUPP | PSI is off: no psi=1 on the command line |
   * | EINVAL     | no CAP_SYS_RESOURCE, and the window is no multiple of 2 s; or 'full' for cpu before Linux 5.13 |
   * | EACCES     | the file is not the caller's |
   *
   * See Documentation/admin-guide/cgroup-v2.
   */
  watchPressure(
    resource: PressureResource,
    level: PressureLevel,
    stall: number,
    window: number,
    options?: TriggerOptions,
  ): Changes<Pressures> {
    const place = new Watched(() => this.#hold())
    return watchPressure(place, `${resource}.pressure`, resource, level, stall, window, options)
  }

  /**
   * `memory.reclaim`: takes so many bytes back from it and those below, as far as they are not in use: page cache,
   * and anonymous memory where there is swap. Resolves with whether it was as much; false is the kernel's EAGAIN. The
   * kernel may take more than asked for. Since Linux 5.19; `swappiness` since 6.9, its 'max' since 6.16.
   *
   * Acts on: this cgroup and those below it. Needs write permission on the file: root, or whom the subtree was
   * delegated to.
   *
   * | errno  | when |
   * |--------|------|
   * | EINVAL | the kernel does not know `swappiness` |
   * | ENOENT | memory is not enabled for this cgroup, the kernel is older, or the cgroup is gone |
   * | EACCES | it is not the caller's |
   *
   * See Documentation/admin-guide/cgroup-v2.
   */
  async reclaim(bytes: number, options?: ReclaimOptions): Promise<boolean> {
    return this.#at((at) => reclaim(at, bytes, options))
  }

  /**
   * `bpf(BPF_PROG_ATTACH, …)` of a BPF_PROG_TYPE_CGROUP_DEVICE program: which devices its processes, and those below,
   * may open and make, no other than these: `setDevices(['c 1:3 rwm', { type: 'c', major: 136, access: 'rw' }])`. The
   * program takes the place of that of an earlier call at once, without a moment in which neither is there. An access
   * passes when rules together allow all of it, and no cgroup above forbids it. What is open stays open. Since Linux
   * 4.15; without a gap since 5.6.
   *
   * Acts on: this cgroup and those below it. Needs CAP_SYS_ADMIN in the first user namespace (CAP_BPF and
   * CAP_NET_ADMIN are not enough, as programs that are there are asked for their names).
   *
   * | errno  | when |
   * |--------|------|
   * | EPERM  | no such capability; somebody's program is there that tolerates no other |
   * | E2BIG  | 64 programs are attached |
   * | EINVAL | the kernel has no CONFIG_CGROUP_BPF |
   * | ENOSYS | the kernel has no CONFIG_BPF_SYSCALL, or a seccomp filter forbids it |
   * | EBADF  | the cgroup is gone |
   *
   * See `man 2 bpf`.
   */
  async setDevices(rules: readonly (DeviceRule | string)[]): Promise<void> {
    return setDevices(this.#directory, rules)
  }

  /**
   * `bpf(BPF_PROG_DETACH, …)`: takes the program of `setDevices()` away: its processes may use what the cgroups above
   * allow. Since Linux 4.15.
   *
   * Acts on: this cgroup and those below it. Needs what `setDevices()` does.
   *
   * Errnos: those of `setDevices()`.
   *
   * See `man 2 bpf`.
   */
  async unsetDevices(): Promise<void> {
    return unsetDevices(this.#directory)
  }

  /**
   * `bpf(BPF_PROG_QUERY, …)`: programs that decide on devices and are attached to this very cgroup, ours and others'
   * (systemd's, a container engine's). Since Linux 4.15.
   *
   * Acts on: this cgroup. Needs CAP_SYS_ADMIN in the first user namespace.
   *
   * Errnos: those of `setDevices()`.
   *
   * See `man 2 bpf`.
   */
  async devicePrograms(): Promise<DeviceProgram[]> {
    return devicePrograms(this.#directory)
  }

  /**
   * `populated 0` in `cgroup.events`: resolves when no live process is left in it and below it, and when it is
   * removed. Since Linux 4.5.
   *
   * Acts on: this cgroup. Needs no privilege.
   *
   * Errnos: those of `get()`; an AbortError when the signal aborts.
   *
   * See Documentation/admin-guide/cgroup-v2.
   */
  async empty(options: WaitOptions = {}): Promise<void> {
    checkWait(options, 'empty')
    return this.#at((at) => untilEvents(at, ({ populated }) => !populated, options))
  }

  /**
   * `cgroup.freeze`: resolves when all processes in it and below it have stopped. They can still be killed.
   * `spawn` refuses a frozen cgroup. Since Linux 5.2.
   *
   * Acts on: all processes of this cgroup and of those below it. Needs write permission on the file: root, or whom
   * the subtree was delegated to.
   *
   * | errno  | when |
   * |--------|------|
   * | ENOENT | the cgroup is the root, or gone |
   * | EACCES | it is not the caller's |
   * | ENODEV | the cgroup is gone |
   *
   * See Documentation/admin-guide/cgroup-v2.
   */
  async freeze(options: WaitOptions = {}): Promise<void> {
    checkWait(options, 'freeze')
    return this.#at((at) => setFrozen(at, true, options))
  }

  /**
   * `cgroup.freeze`: resolves when they run again. Below a frozen cgroup they don't: it waits for that one. Since
   * Linux 5.2.
   *
   * Acts on: all processes of this cgroup and of those below it. Needs write permission on the file: root, or whom
   * the subtree was delegated to.
   *
   * Errnos: those of `freeze()`.
   *
   * See Documentation/admin-guide/cgroup-v2.
   */
  async thaw(options: WaitOptions = {}): Promise<void> {
    checkWait(options, 'thaw')
    return this.#at((at) => setFrozen(at, false, options))
  }

  /**
   * `cgroup.kill`: SIGKILL to every process in it and below it, forks in progress included. Since Linux 5.14; on
   * older kernels it freezes the cgroup, kills one by one, and resolves when all are gone.
   *
   * Acts on: all processes of this cgroup and of those below it. Needs write permission on the file: root, or whom
   * the subtree was delegated to.
   *
   * | errno          | when |
   * |----------------|------|
   * | EOPNOTSUPP     | it is threaded: kill the domain above it |
   * | EACCES         | it is not the caller's |
   * | ESRCH          | before 5.14: a process of it belongs to another pid namespace |
   * | ENOENT, ENODEV | the cgroup is gone |
   *
   * See Documentation/admin-guide/cgroup-v2.
   */
  async kill(): Promise<void> {
    return this.#at(kill)
  }

  /**
   * `memory.events`, its `oom_kill`: how many processes the OOM killer took, here and below; undefined without
   * memory. Since Linux 4.13.
   *
   * Acts on: this cgroup. Needs no privilege.
   *
   * Errnos: those of `get()`.
   *
   * See Documentation/admin-guide/cgroup-v2.
   */
  async oomKills(): Promise<number | undefined> {
    return this.#at(oomKills)
  }

  /**
   * `rmdir(2)` of it and of all below it, deepest first, once they are empty. Removing twice is no error. Since Linux
   * 4.5.
   *
   * Acts on: this cgroup and those below it. Needs write permission on the cgroup above.
   *
   * | errno         | when |
   * |---------------|------|
   * | EBUSY         | something is mounted on it or below it, or the kernel keeps it although it is empty |
   * | EACCES, EPERM | the cgroup above is not the caller's |
   * | EROFS         | cgroup2 is mounted read-only |
   *
   * See Documentation/admin-guide/cgroup-v2.
   */
  async remove(options: RemoveOptions = {}): Promise<void> {
    checkRemove(options)
    if (this.#removed) return
    await this.#at((at) => remove(at, () => this.#here(at), options))
    this.#removed = true
    this.close()
  }

  /** Closes the fd and leaves the cgroup. */
  close(): void {
    this.#directory.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#owned || this.#directory.closed) {
      this.close()
      return
    }
    this.#removal ??= this.remove({ kill: true }).catch((error: unknown) => {
      this.#removal = undefined
      throw error
    })
    return this.#removal
  }

  toString(): string {
    return `cgroup ${this.path}`
  }

  [inspect.custom](): string {
    return `Cgroup { ${this.path} }`
  }

  /**
   * The path of its descriptor, of a copy that stays open until `use` is done: nothing reaches another cgroup, made since
   * with the name of this one.
   */
  async #at<T>(use: (at: string) => Promise<T>): Promise<T> {
    using directory = this.#hold()
    return await use(`/proc/self/fd/${String(directory.fd)}`)
  }

  /** The caller closes it. */
  #hold(): Fd {
    if (this.#removed) throw failure('ENOENT', 'open', this.path, 'this cgroup has been removed')
    if (this.#directory.closed) throw invalid('cgroup', `${this.path} has been closed`)
    return this.#directory.dup()
  }

  /** Its path, where that still leads to it: what is done by name, as rmdir(2) is, can't go through a descriptor. */
  async #here(at: string): Promise<string> {
    const [own, there] = await Promise.all([fs.stat(at), fs.stat(this.path).catch(() => undefined)])
    if (own.ino === there?.ino && own.dev === there.dev) return this.path
    await assertNoMount(this.path)
    throw failure('ENOENT', 'stat', this.path, 'this cgroup has been removed')
  }

  /** @internal The path to make others in. */
  async directory(): Promise<string> {
    return this.#at((at) => this.#here(at))
  }
}
