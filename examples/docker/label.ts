// SELinux: the domain that container policies have for this, at a level that no other has: MCS keeps containers from each
// other's files and processes, whatever they have been given by mistake.
import { selinux } from 'fancyproc'
import { Refusal } from './refusal.ts'

/** `--security-opt label=…`, as docker spells it. */
export interface LabelOptions {
  disable: boolean
  user: string
  role: string
  type: string
  /** Undefined: a pair of categories of its own. */
  level: string | undefined
}

/** Of the program, of its files, and what to release when it has ended. */
export interface Labels {
  process: string
  files: string
  release: () => void
}

const parts = ['user', 'role', 'type', 'level'] as const

export function labelOptions(given: readonly string[]): LabelOptions {
  const options: LabelOptions = {
    disable: false,
    user: 'system_u',
    role: 'system_r',
    type: 'container_t',
    level: undefined,
  }
  for (const option of given) {
    const [, name = '', value] = /^label=(\w+)(?::(.+))?$/.exec(option) ?? []
    const part = parts.find((known) => known === name)
    if (name === 'disable' && value === undefined) options.disable = true
    else if (part !== undefined && value !== undefined) options[part] = value
    else
      throw new Refusal(
        `--security-opt ${option}: label=disable, or label=user:…, role:…, type:…, level:…`,
        125,
      )
  }
  return options
}

/** The type of container policies for files that a container may do everything with, programs included. */
const FILES = 'container_file_t'

/**
 * Undefined where SELinux is off, and where the loaded policy knows no containers unless a type was asked for: then the
 * program keeps our label.
 */
export async function allocateLabels(options: LabelOptions, asked: boolean): Promise<Labels | undefined> {
  if (options.disable || (!asked && !selinux.enabled())) return undefined
  const { user, role, type } = options
  const at = (level: string, release: () => void): Labels => ({
    process: `${user}:${role}:${type}:${level}`,
    files: `${user}:object_r:${FILES}:${level}`,
    release,
  })
  if (options.level !== undefined) return at(options.level, () => undefined)
  const categories = await selinux.allocateCategories()
  const labels = at(categories.level, () => {
    categories.release()
  })
  // A label that nobody reads must not be taken for one: where SELinux is off, the question throws.
  if (asked || selinux.validate(labels.process)) return labels
  labels.release()
  return undefined
}

/** May a program that can gain no privileges change its label? Policies say so to container engines. */
export function mayChangeWithoutPrivileges({ process }: Labels): boolean {
  return selinux.check(selinux.getcon(), process, 'process2', 'nnp_transition')
}
