export NODE_OPTIONS="--experimental-vm-modules --disable-warning=ExperimentalWarning" FANCYPROC_SCALE=0.1 FANCYPROC_SLOWNESS=10
npx jest test/context test/selinux-policy test/thread.test.ts 2>&1
cat > /tmp/p.mjs <<'F'
import { selinux } from '/opt/fancyproc/dist/lib/index.js'
const q = () => selinux.check('system_u:system_r:container_t:s0:c1,c2', 'system_u:object_r:shadow_t:s0', 'file', 'read')
console.log(q(), selinux.status())
F
node /tmp/p.mjs; setenforce 0; node /tmp/p.mjs; setenforce 1
