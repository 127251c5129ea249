import { list } from './namespaces/list.ts'
import { open } from './namespaces/open.ts'
import { pin, unpin } from './namespaces/pin.ts'

export type { NamespaceFd } from './namespaces/fd.ts'
export type { NamespaceHolder, NamespaceInfo, NamespaceMount, NamespacesOptions } from './namespaces/list.ts'
export type { NamespaceTarget } from './namespaces/open.ts'

/** Namespaces of the machine: `namespaces()` lists them; `open`, `pin` and `unpin` are about one. */
export const namespaces = Object.assign(list, { open, pin, unpin })
