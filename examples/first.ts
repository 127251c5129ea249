// A sandbox, for root and for an ordinary user: a root of its own, one process, no network, another host's name.
import { run } from 'fancyproc'
import { bind, chdir, makePrivate, mapUser, mkdir, mount } from 'fancyproc/steps'
import { pivotRoot, remount, sethostname, setNoNewPrivs, symlink, umount2 } from 'fancyproc/steps'

const enterRoot = [
  makePrivate('/', { recursive: true }),
  mount({ source: 'tmpfs', target: '/tmp', type: 'tmpfs' }),
  chdir('/tmp'),
  [mkdir('usr'), bind('/usr', 'usr'), remount('usr', ['MS_BIND', 'MS_RDONLY'])],
  ['bin', 'lib', 'lib64'].map((name) => symlink(`usr/${name}`, name)),
  [mkdir('proc'), mount({ source: 'proc', target: 'proc', type: 'proc' })],
  [pivotRoot('.', '.'), umount2('.', 'MNT_DETACH'), chdir('/')],
]

const { stdout, code } = await run('sh', ['-c', 'echo I am $$ on $(uname -n); ls -x /; touch /usr/x'], {
  namespaces: ['user', 'mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup'],
  steps: [mapUser(), enterRoot, sethostname('sandbox'), setNoNewPrivs()],
  stdio: ['ignore', 'pipe', 'inherit'],
  timeout: 5000,
})
console.log(`${stdout}it exited with ${String(code)}`)
