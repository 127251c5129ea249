// What a machine of ours is for: whatever of it is missing would make tests skip that nothing else runs.
import { existsSync, readFileSync } from 'node:fs'
import { release } from 'node:os'

const text = (path) => (existsSync(path) ? readFileSync(path, 'utf8').trim() : '')
const words = (path) => text(path).split(/\s+/)

/** Debian's kernels by name; sid's is the newest of them. */
const OLDEST_OF_SID = '7.2'
const isAtLeast = (wanted) => {
  const [ours, theirs] = [release(), wanted].map((version) => version.split(/[.-]/).map(Number))
  return ours[0] !== theirs[0] ? ours[0] > theirs[0] : ours[1] >= theirs[1]
}

/** What is not as `kernel` and `lsm` of main.mjs say, in words. */
export function lacking({ kernel, lsm }) {
  const controllers = ['cpu', 'cpuset', 'memory', 'io', 'pids', 'hugetlb', 'rdma']
  if (isAtLeast('5.13')) controllers.push('misc')
  const there = words('/sys/fs/cgroup/cgroup.controllers')
  const enforcing =
    lsm === 'selinux'
      ? text('/sys/fs/selinux/enforce') === '1'
      : text('/sys/module/apparmor/parameters/enabled') === 'Y'
  return [
    [
      kernel === 'sid' ? isAtLeast(OLDEST_OF_SID) : release().startsWith(`${kernel}.`),
      `Linux ${kernel}, it is ${release()}`,
    ],
    [enforcing, `${lsm} enforcing`],
    ...controllers.map((name) => [there.includes(name), `the controller ${name}`]),
    [existsSync('/proc/pressure/memory'), 'pressure stall information'],
    [words('/proc/filesystems').includes('overlay'), 'overlay'],
    [existsSync('/dev/loop-control'), 'loop devices'],
  ].flatMap(([is, what]) => (is ? [] : [what]))
}
