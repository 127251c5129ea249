// node:util parseArgs, which knows no end of options but --: here, they end at the first operand.
import { parseArgs, type ParseArgsConfig } from 'node:util'
import { Refusal } from './refusal.ts'

export interface Option {
  type: 'string' | 'boolean'
  short?: string
  multiple?: boolean
  help: string
}
export type Options = Readonly<Record<string, Option>>

type Value<O extends Option> = O['type'] extends 'boolean'
  ? boolean
  : O extends { multiple: true }
    ? string[]
    : string
export type Given<T extends Options> = { [Name in keyof T]?: Value<T[Name]> }

export function parse<const T extends Options>(
  name: string,
  usage: string,
  options: T,
  args: string[],
  exitCode = 1,
): { values: Given<T>; operands: string[] } {
  const known: ParseArgsConfig['options'] = { ...options, help: { type: 'boolean' } }
  const { tokens } = parseArgs({ args, options: known, strict: false, tokens: true })
  const end = tokens.find(({ kind }) => kind === 'positional' || kind === 'option-terminator')
  const at = end?.index ?? args.length
  try {
    const { values } = parseArgs({ args: args.slice(0, at), options: known })
    if (values['help']) throw new Refusal(describe(usage, options), 0)
    return {
      values: values as Given<T>,
      operands: args.slice(end?.kind === 'option-terminator' ? at + 1 : at),
    }
  } catch (error) {
    if (error instanceof Refusal) throw error
    const [problem] = (error as Error).message.split('. To specify')
    throw new Refusal(`${name}: ${problem ?? ''}\nSee 'docker ${name} --help'.`, exitCode)
  }
}

function describe(usage: string, options: Options): string {
  const lines = Object.entries(options).map(([name, { short, type, help }]) => {
    const flags = `${short === undefined ? '   ' : `-${short},`} --${name}${type === 'string' ? ' …' : ''}`
    return `  ${flags.padEnd(24)}${help}`
  })
  return [`Usage: docker ${usage}`, ...lines].join('\n')
}
