// What is to be done about a denial.
import { check } from './policy.ts'

const typeOf = (context: string): string => context.split(':')[2] ?? ''
const levelOf = (context: string): string => context.split(':').slice(3).join(':')

function withLevel(context: string, level: string): string {
  return [...context.split(':').slice(0, 3), level].join(':')
}

/** The rule that the policy lacks, in CIL; or, if it has that, the levels. */
export function advice(source: string, target: string, tclass: string, lacking: readonly string[]): string {
  const level = levelOf(source)
  if (level !== '' && level !== levelOf(target) && check(source, withLevel(target, level), tclass, lacking))
    return `level ${level} does not dominate ${levelOf(target)}`
  return `the policy needs (allow ${typeOf(source)} ${typeOf(target)} (${tclass} (${lacking.join(' ')})))`
}
