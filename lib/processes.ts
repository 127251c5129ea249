// Processes of this machine, whoever started them: pidfd_open(2), the proc connector.
import { open } from './processes/handle.ts'
import { watch } from './processes/watch.ts'

export const processes = { open, watch } as const
