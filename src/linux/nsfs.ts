import { statfsSync } from 'node:fs';

const NSFS_MAGIC = 0x6e736673;

/** Whether a file is a pinned namespace (a bind of nsfs), as CRI-O asks before it restores a pod. */
export function isNamespaceFile(path: string): boolean {
  try {
    return statfsSync(path).type === NSFS_MAGIC;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
