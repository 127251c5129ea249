import { list } from './namespaces/list.ts'

export type { NamespaceHolder, NamespaceInfo, NamespaceMount, NamespacesOptions } from './namespaces/list.ts'

/** Namespaces of the machine: `namespaces()` lists them. */
export const namespaces = Object.assign(list, {})
