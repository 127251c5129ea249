// The engine: it starts ordinary processes and remembers them. Without arguments it plays the lab.
import { inspect, logs, ps, rm, stop, top } from './commands.ts'
import { exec } from './exec.ts'
import { lab } from './lab.ts'
import { exitCodeOf, Refusal } from './refusal.ts'
import { run } from './run.ts'
import { say } from './table.ts'

const commands: Record<string, (args: string[]) => number | Promise<number>> = {
  lab,
  run,
  exec,
  ps,
  top,
  logs,
  stop,
  rm,
  inspect,
}

const usage = `Usage: npm start [-- COMMAND ...]

  lab                                        all of it: three times run -td rhel7 top, and a look at them (the default)
  run [OPTIONS] IMAGE COMMAND [ARG...]       one process in namespaces and a cgroup of its own (run --help)
  exec [-i] [-t] CONTAINER COMMAND [ARG...]  one more process in there (exec --help)
  ps [-a] [-q]                               those that run
  top CONTAINER                              its processes
  logs CONTAINER                             what it printed
  inspect [-t] CONTAINER...                  what is remembered about it, and what the kernel says of it
  stop [-t SECONDS] CONTAINER...             SIGTERM, then SIGKILL
  rm [-f] CONTAINER...                       forget it`

async function main([name = 'lab', ...args]: string[]): Promise<number> {
  if (name === 'help' || name === '--help') throw new Refusal(usage, 0)
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (!command) throw new Refusal(`'${name}' is not a command.\n\n${usage}`)
  return command(args)
}

try {
  // Not process.exit(), which would cut off what is still to be written to a pipe.
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  process.exitCode = exitCodeOf(error)
  const { message } = error as Error
  if (process.exitCode === 0) console.log(message)
  else say([`docker: ${message}`])
}
