import { create } from './namespaces/create.ts'
import { list } from './namespaces/list.ts'
import { open } from './namespaces/open.ts'
import { pin, unpin } from './namespaces/pin.ts'
import { pool } from './namespaces/pool.ts'

export type { CreatedNamespaces, HeldNamespace } from './namespaces/create.ts'
export type { NamespaceFd } from './namespaces/fd.ts'
export type { NamespaceHolder, NamespaceInfo, NamespaceMount, NamespacesOptions } from './namespaces/list.ts'
export type { NamespaceTarget } from './namespaces/open.ts'
export type { NamespacePool, PoolOptions } from './namespaces/pool.ts'

/** Namespaces of the machine: `namespaces()` lists them; `open`, `pin` and `unpin` are about one, `create` and `pool` make them. */
export const namespaces = Object.assign(list, { create, open, pin, pool, unpin })
