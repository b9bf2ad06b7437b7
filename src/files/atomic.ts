import { constants } from 'node:fs';
import { open, readdir, rename, rm } from 'node:fs/promises';
import { randomInt } from 'node:crypto';
import { basename, dirname, join } from 'node:path';

export interface AtomicWriteOptions {
  /** Exact mode of the new file, whatever the umask; default 0600. */
  readonly mode?: number;
  /** fdatasync before the rename; default true. */
  readonly sync?: boolean;
}

/**
 * Replaces `path` by `data` in one step: temporary `.tmp-<name><digits>` beside it (the name that
 * containers/storage uses and cleans up, docs/reference/cri-o-ondisk.md §1.1), fdatasync, chmod, rename.
 * A failure leaves the old file and no temporary; a crash leaves one, see `removeHalfWritten`.
 */
export async function writeFileAtomic(path: string, data: string | Uint8Array, options: AtomicWriteOptions = {}): Promise<void> {
  const temporary = join(dirname(path), `.tmp-${basename(path)}${randomInt(1e9)}`);
  const handle = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    try {
      await handle.writeFile(data);
      if (options.sync ?? true) await handle.datasync();
      await handle.chmod(options.mode ?? 0o600);
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Removes what a crash left of writes of `path`. For the start of the one who writes it: whoever is writing now would fail. */
export async function removeHalfWritten(path: string): Promise<void> {
  const [directory, prefix] = [dirname(path), `.tmp-${basename(path)}`];
  const names = await readdir(directory);
  const halves = names.filter((name) => name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length)));
  for (const name of halves) await rm(join(directory, name), { force: true });
}
