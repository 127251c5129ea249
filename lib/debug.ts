import { debuglog } from 'node:util'

const log = debuglog('fancyproc')

/** Undefined unless NODE_DEBUG names us, which is read once: to ask each time would be felt in each spawn. */
export const debug = log.enabled ? log : undefined
