// Memory taken back before anybody needs it.
import { KernelError } from '../errors.ts'
import { integer, options as checkOptions } from '../steps/arguments.ts'
import { codeOf, writeFile } from './files.ts'

export interface ReclaimOptions {
  /** 0 (page cache only) to 200 (anonymous memory first); 'max': anonymous memory only. Default: vm.swappiness. */
  swappiness?: number | 'max' | undefined
}

/** See `Cgroup.reclaim`. */
export async function reclaim(path: string, bytes: number, options: ReclaimOptions = {}): Promise<boolean> {
  integer(bytes, 'reclaim: bytes', 1, Number.MAX_SAFE_INTEGER)
  const { swappiness } = checkOptions<ReclaimOptions>(options, 'reclaim', ['swappiness'])
  if (swappiness !== undefined && swappiness !== 'max') integer(swappiness, 'reclaim: swappiness', 0, 200)
  const argument = swappiness === undefined ? '' : ` swappiness=${String(swappiness)}`
  try {
    await writeFile(path, 'memory.reclaim', `${String(bytes)}${argument}`)
    return true
  } catch (error) {
    if (codeOf(error) === 'EAGAIN') return false
    if (swappiness === undefined || !(error instanceof KernelError) || error.code !== 'EINVAL') throw error
    const { errno, syscall, path: file } = error
    const hint = `swappiness needs Linux ${swappiness === 'max' ? '6.16' : '6.9'}`
    throw new KernelError({ errno: -errno, syscall, path: file, hint, cause: error })
  }
}
