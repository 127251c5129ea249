// SELinux: the domain that container-selinux has for this, with a pair of categories that no other has.
import { randomInt } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { list, quietly } from './state.ts'

/** Undefined where the loaded policy knows no such domain; then the program keeps our label. */
export function containerLabel(): string | undefined {
  const taken = new Set(list().map(({ label }) => label))
  for (;;) {
    const [low, high] = [randomInt(0, 512), randomInt(512, 1024)]
    const label = `system_u:system_r:container_t:s0:c${low},c${high}`
    if (!taken.has(label)) return isKnown(label) ? label : undefined
  }
}

function isKnown(label: string): boolean {
  return quietly(() => (writeFileSync('/sys/fs/selinux/context', label), true)) ?? false
}
