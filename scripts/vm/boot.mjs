// Boots a machine in QEMU, and gives what it left on its last disk.
import { spawn, spawnSync } from 'node:child_process'
import {
  copyFileSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { stdout } from 'node:process'
import { clearTimeout, setTimeout } from 'node:timers'

import { at, Failure } from '../project.mjs'
import { say, seconds } from './cache.mjs'
import { initramfs } from './initramfs.mjs'
import { qemu } from './qemu.mjs'

/** What the guest says last: what follows is the kernel's farewell. */
const END = 'vm: end'

/** What test/support/reporter.mjs says first. */
const FIRST = 'the first test'

const machines = {
  amd64: {
    // Four levels of page tables are walked sooner than five. And `rep movsb`, for which the kernel and libc take their
    // best loop where the processor says that it is fast, is emulated byte by byte.
    hardware: ['-machine', 'q35', '-cpu', 'max,la57=off,erms=off,fsrm=off'],
    console: 'ttyS0',
    // On a busy host the emulated timers are late, and the kernel's checks of them fail: it panics, or trusts no clock.
    append: 'no_timer_check tsc=reliable',
  },
  arm64: {
    // Pointers are signed by an algorithm of QEMU's own, which costs it less than the architecture's.
    hardware: ['-machine', 'virt,gic-version=3', '-cpu', 'max,pauth-impdef=on'],
    console: 'ttyAMA0',
    append: '',
  },
}

const LSM = {
  selinux: 'lsm=selinux,landlock,bpf selinux=1 enforcing=0',
  apparmor: 'lsm=apparmor,landlock,bpf apparmor=1',
}

export const tools = { cpio: 'cpio', setpriv: 'util-linux' }

/** `disks`: images in the order of /dev/vda and on; what the guest writes there is forgotten, except on the last one. */
function options({ arch, accel, kernel, initrd, disks, lsm, shell }) {
  const { hardware, console, append: own } = machines[arch]
  const append = [
    `console=${console} panic=-1 loglevel=${shell ? 5 : 4} fancyproc.shell=${Number(shell)}`,
    // Pressure stall information, which not every kernel starts by itself.
    'psi=1',
    // QEMU keeps translated code by its virtual address: where that is the same in all processes, an execve takes half of
    // the time. And a system call without the processor's mitigations takes half.
    'norandmaps mitigations=off',
    LSM[lsm],
    own,
  ]
  const drives = disks.map((file, index) => {
    const kept = index === disks.length - 1
    return `file=${file},if=virtio,format=raw,${kept ? 'cache=writeback' : 'snapshot=on'}`
  })
  return [
    ...hardware,
    ...['-accel', accel === 'tcg' ? 'tcg,thread=multi,tb-size=512' : accel],
    ...['-smp', '2', '-m', '2048'],
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-nic', 'none'],
    ...[
      '-chardev',
      `stdio,id=terminal,mux=${shell ? 'on,signal=off' : 'off'}`,
      '-serial',
      'chardev:terminal',
    ],
    ...(shell ? ['-mon', 'chardev=terminal'] : []),
    ...['-kernel', kernel.vmlinuz, '-initrd', initrd, '-append', append.join(' ')],
    ...drives.flatMap((drive) => ['-drive', drive]),
  ]
}

/** Prints what the machine says until its end, and after how long there was the first test. */
async function stream(output, log, start) {
  const file = createWriteStream(log)
  let ended = false
  let tested = false
  for await (const line of createInterface({ input: output })) {
    const text = line.replace(/\r/g, '')
    file.write(`${text}\n`)
    ended ||= text === END
    if (!tested && text === FIRST) say(`the first test, ${seconds(start)} after the start`)
    tested ||= text === FIRST
    if (!ended) stdout.write(`${text}\n`)
  }
  file.end()
}

/** Boots it, and what became of that. */
export async function boot(
  directory,
  { arch, accel, lsm, kernel, root, disks, settings, script, start, minutes, shell = false },
) {
  const initrd = initramfs(directory, {
    busybox: root.busybox,
    disk: kernel.disk,
    settings: { ...settings, LSM: lsm, SHELL_WANTED: Number(shell), CONSOLE: machines[arch].console },
    command: script,
  })
  const results = join(directory, 'results.img')
  writeFileSync(results, '')
  truncateSync(results, 64 << 20)
  const images = [root.image, kernel.modules, ...disks, results]
  const { command: program, env } = qemu(arch)
  const args = [...program, ...options({ arch, accel, kernel, initrd, disks: images, lsm, shell })]

  // The machine dies with us, whatever kills us.
  const machine = spawn('setpriv', ['--pdeathsig', 'KILL', ...args], {
    env,
    stdio: shell ? 'inherit' : ['ignore', 'pipe', 'inherit'],
  })
  const limit = setTimeout(() => machine.kill('SIGKILL'), minutes * 60_000)
  const ended = new Promise((resolve, reject) => {
    machine.on('error', reject)
    machine.on('close', (code, signal) => resolve(signal ?? code))
  })
  if (!shell) await stream(machine.stdout, join(directory, 'console'), start)
  const how = await ended
  clearTimeout(limit)

  const out = at('.vm/last')
  rmSync(out, { recursive: true, force: true })
  mkdirSync(out, { recursive: true })
  if (!shell) copyFileSync(join(directory, 'console'), join(out, 'console'))
  const unpacked = spawnSync('tar', ['--extract', '--file', results, '--directory', out])
  if (unpacked.status !== 0 || !existsSync(join(out, 'status'))) {
    throw new Failure(`the machine ended without a result (qemu: ${how}), or after ${minutes} minutes`)
  }
  return { status: Number(readFileSync(join(out, 'status'), 'utf8')), out }
}
