// A sandbox, for root and for an ordinary user: a root of its own, nobody's ids, no network, another host's name.
import { run } from 'fancyproc'
import { bind, chdir, gidMap, makePrivate, mapUser, mkdir, mount, pivotRoot, remount } from 'fancyproc/steps'
import { sethostname, setgroups, setNoNewPrivs, setPdeathsig, setresgid, setresuid } from 'fancyproc/steps'
import { symlink, uidMap, umount2 } from 'fancyproc/steps'

const nobody = { inside: 1000, outside: 65534, count: 1 }
// Not root's own: /proc/sys, say, obeys uid 0 in whatever namespaces. Who isn't 0 in there has no capability after execve.
const ids =
  process.geteuid?.() === 0
    ? [uidMap(nobody), gidMap(nobody), setgroups([]), setresgid(1000), setresuid(1000)]
    : mapUser({ uid: 1000, gid: 1000 })

const enterRoot = [
  makePrivate('/', { recursive: true }),
  mount({ source: 'tmpfs', target: '/tmp', type: 'tmpfs', data: 'size=16m' }),
  chdir('/tmp'),
  [mkdir('usr'), bind('/usr', 'usr'), remount('usr', ['MS_BIND', 'MS_RDONLY', 'MS_NOSUID', 'MS_NODEV'])],
  ['bin', 'lib', 'lib64'].map((name) => symlink(`usr/${name}`, name)),
  [mkdir('proc'), mount({ source: 'proc', target: 'proc', type: 'proc' })],
  [pivotRoot('.', '.'), umount2('.', 'MNT_DETACH'), chdir('/')],
]

const { stdout, code } = await run('sh', ['-c', 'echo I am $$ on $(uname -n); ls -x /; touch /usr/x'], {
  namespaces: ['user', 'mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup'],
  steps: [ids, enterRoot, sethostname('sandbox'), setNoNewPrivs(), setPdeathsig('SIGKILL')],
  detached: true, // a session of its own: kill(0) reaches the process group, whatever pid namespaces it is in
  stdio: ['ignore', 'pipe', 'inherit'],
  timeout: 5000,
})
console.log(`${stdout}it exited with ${String(code)}`)
