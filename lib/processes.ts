// Processes of this machine, whoever started them: pidfd_open(2).
import { open } from './processes/handle.ts'

export const processes = { open } as const
