import type { Section } from '../measure.ts'
import { kinds } from './kinds.ts'
import { launch } from './launch.ts'
import { memory } from './memory.ts'
import { psSection } from './ps.ts'
import { size } from './size.ts'
import { standing } from './standing.ts'
import { streams } from './streams.ts'
import { throughput } from './throughput.ts'

/** In the order of docs/performance.md. */
export const sections: Readonly<Record<string, Section>> = {
  launch,
  memory,
  throughput,
  standing,
  kinds,
  ps: psSection,
  streams,
  size,
}
