// New namespaces for whoever runs the tests: root as he is, an ordinary user in a user namespace where he is root.
import type { Namespace, SpawnOptions } from 'fancyproc'
import { mapUser, type Steps } from 'fancyproc/steps'
import { facts, type Machine } from './machine.ts'

/** What it takes. */
export const rights: Machine = facts.user === 'root' ? {} : { userns: true }

export function isolated(kinds: readonly Namespace[], ...steps: Steps[]): SpawnOptions {
  if (facts.user === 'root') return { namespaces: kinds, steps }
  return { namespaces: [...new Set<Namespace>(['user', ...kinds])], steps: [mapUser(), ...steps] }
}
