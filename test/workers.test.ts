// Workers that end, by themselves or not: what they had open is closed, what others have open is not.
import { expect, test } from '@jest/globals'
import { fork } from './support/fork.ts'
import { scaled } from './support/machine.ts'

/** A module that starts Workers; `worker` is the text of one, which has `directory` and answers by `tell`. */
const program = (worker: string, main: string): string => `
  import { once } from 'node:events'
  import { fstatSync, mkdtempSync, openSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
  import { setTimeout as sleep } from 'node:timers/promises'
  import { Worker } from 'node:worker_threads'
  import 'fancyproc'
  const directory = mkdtempSync('/tmp/fancyproc-workers-')
  process.on('exit', () => rmSync(directory, { recursive: true }))
  const start = () => new Worker(${JSON.stringify(`
    import { parentPort, workerData as directory } from 'node:worker_threads'
    import { joinSteps, namespaces, processes, ps, selinux } from 'fancyproc'
    const tell = (value) => parentPort.postMessage(value)
    ${worker}`)}, { eval: true, workerData: directory })
  const open = () => readdirSync('/proc/self/fd').flatMap((fd) => {
    try { return [fd + ' ' + readlinkSync('/proc/self/fd/' + fd)] } catch { return [] }
  })
  ${main}
`

const allocate = 'await selinux.allocateCategories({ lockFile: directory + "/lock" })'

test('what a Worker has closed is not closed again, by its number, when it ends', async () => {
  const { stdout, stderr } = await fork(
    program(
      `
      joinSteps({ target: process.pid, inherit: ['root', 'cwd'] })[Symbol.dispose]()
      for (let i = 0; i < 4; i++) namespaces.open(process.pid, 'net').close();
      (${allocate}).release()
      await ps({ fields: ['pid'] })
      tell('closed')
      setInterval(() => {}, 1000)
      `,
      `
      const worker = start()
      await once(worker, 'message')
      const files = Array.from({ length: 40 }, () => openSync('/dev/zero', 'r'))
      await worker.terminate()
      await sleep(50)
      const lost = files.filter((fd) => { try { return fstatSync(fd).rdev !== 0x105 } catch { return true } })
      console.log(lost.length)
      `,
    ),
  )
  expect(stderr).toBe('')
  expect(stdout).toBe('0\n')
})

test('what a Worker has open is closed when it ends', async () => {
  const { stdout, stderr } = await fork(
    program(
      `
      globalThis.kept = [
        processes.open(process.ppid), namespaces.open(process.pid, 'net'), ${allocate}, processes.watch(),
        processes.watch({ source: 'polling' }),
      ]
      kept[0].exited
      tell('open')
      setInterval(() => {}, 1000)
      `,
      `
      // What the addon keeps for itself, and Node for its first Worker.
      const first = start()
      await once(first, 'message')
      await first.terminate()
      await sleep(300)
      const before = open()
      const worker = start()
      await once(worker, 'message')
      const during = open().length
      await worker.terminate()
      let after = open()
      for (let i = 0; i < 200 && after.length > before.length; i++) { await sleep(20); after = open() }
      console.log(during > before.length, after.filter((fd) => !before.includes(fd)))
      `,
    ),
  )
  expect(stderr).toBe('')
  expect(stdout).toBe('true []\n')
})

test('a Worker may end while it waits for a listing', async () => {
  const { code, stderr } = await fork(
    program(
      `
      tell('begins')
      const again = async (list) => { for (;;) await list() }
      again(() => ps())
      again(() => namespaces())
      again(() => selinux.getfilecon('/').catch(() => undefined))
      again(() => selinux.getfilecon(directory).catch(() => undefined))
      `,
      `
      for (let i = 0; i < ${String(scaled(25))}; i++) {
        const worker = start()
        await once(worker, 'message')
        await sleep(i)
        await worker.terminate()
      }
      `,
    ),
  )
  expect(stderr).toBe('')
  expect(code).toBe(0)
})
