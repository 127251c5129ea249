// Complaints, and the status to exit with: as docker has it, 125 for itself, 126 and 127 for the program.
import { KernelError } from 'fancyproc'

export class Refusal extends Error {
  readonly exitCode: number

  constructor(message: string, exitCode = 1) {
    super(message)
    this.exitCode = exitCode
  }
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof Refusal) return error.exitCode
  if (error instanceof KernelError && error.syscall === 'execve') return error.code === 'ENOENT' ? 127 : 126
  return 125
}
