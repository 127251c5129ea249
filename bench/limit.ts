// The C program that shows the limit.
import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { program } from './programs.ts'

export interface Timed {
  /** Milliseconds. */
  wall: number
  cpu: number
}

export class Limit implements Disposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #lines: AsyncIterator<string>

  constructor(...args: string[]) {
    this.#child = spawn(program('limit'), args, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]()
  }

  async #ask(line: string): Promise<Timed> {
    this.#child.stdin.write(`${line}\n`)
    const answer = await this.#lines.next()
    if (answer.done) throw new Error(`the limit program ended: ${this.#child.spawnargs.join(' ')}`)
    const [wall, cpu] = answer.value.split(' ').map(Number)
    return { wall: (wall ?? NaN) / 1e6, cpu: (cpu ?? NaN) / 1e3 }
  }

  launch(count = 1): Promise<Timed> {
    return this.#ask(String(count))
  }

  stand(count: number): Promise<Timed> {
    return this.#ask(`+${String(count)}`)
  }

  /** What a launch takes, as a contestant. */
  wall = async (): Promise<number> => (await this.launch()).wall
  cpu = async (): Promise<number> => (await this.launch()).cpu;

  [Symbol.dispose](): void {
    this.#child.stdin.end()
  }
}
