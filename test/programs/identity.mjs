// What a Worker makes of itself, before the first spawn of the process, is not what spawns become.
import { isMainThread, Worker } from 'node:worker_threads'
import { run } from 'fancyproc'
import * as thread from 'fancyproc/thread'

const ask = () =>
  run('sh', [
    '-c',
    'sleep 0.05; echo $(id -u) $(readlink /proc/self/ns/uts) $(grep NoNewPrivs /proc/self/status)',
  ])

if (isMainThread) {
  const worker = new Worker(new URL(import.meta.url))
  await new Promise((resolve, reject) => worker.on('exit', resolve).on('error', reject))
  const answers = await Promise.all(Array.from({ length: 40 }, ask))
  console.log(JSON.stringify([...new Set(answers.map(({ stdout }) => stdout.trim().replace(/\s+/g, ' ')))]))
} else {
  thread.unshare('uts')
  thread.setNoNewPrivs()
  thread.setresgid(65534)
  thread.setresuid(65534)
  await ask()
}
