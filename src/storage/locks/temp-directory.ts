import { closeSync, constants, fstatSync, mkdirSync, openSync, unlinkSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { randomInt } from 'node:crypto';
import { basename, join } from 'node:path';
import { codeOf } from '../../errors/index.ts';
import { tryLockFile } from '../../linux/index.ts';

/**
 * A `temp-dir-<n>` beside its held `lock-<n>` (docs/reference/cri-o-ondisk.md §2.4): what lies in it vanishes when
 * this process does, because anybody who can take the lock deletes both.
 */
export class TempDirectory {
  readonly path: string;
  readonly #lockPath: string;
  readonly #lock: number;
  #items = 0;

  private constructor(path: string, lockPath: string, lock: number) {
    this.path = path;
    this.#lockPath = lockPath;
    this.#lock = lock;
  }

  /** Makes one below `parent` (`H/tempdirs` or `overlay-layers/tmp`), which is made 0700 if missing. */
  static create(parent: string): TempDirectory {
    mkdirSync(parent, { recursive: true, mode: 0o700 });
    for (;;) {
      const number = randomInt(2 ** 32);
      const lockPath = join(parent, `lock-${number}`);
      const lock = takeNew(lockPath);
      if (lock === undefined) continue;
      const path = join(parent, `temp-dir-${number}`);
      mkdirSync(path, { mode: 0o700 });
      return new TempDirectory(path, lockPath, lock);
    }
  }

  /** A fresh path inside for something new; nothing is made. */
  addition(): string {
    return join(this.path, `${this.#items++}-addition`);
  }

  /** A fresh path inside for something that is moved here to be deleted. */
  grave(path: string): string {
    return join(this.path, `${this.#items++}-${basename(path)}`);
  }

  /** Deletes everything, then the lock, then lets go of it. */
  async close(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
    unlinkSync(this.#lockPath);
    closeSync(this.#lock);
  }
}

/** A new lock file, held; undefined if the name exists or a stale recovery was faster. The descriptor is the caller's. */
function takeNew(path: string): number | undefined {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o644);
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return undefined;
    throw error;
  }
  if (tryLockFile(fd, 'exclusive') && fstatSync(fd).nlink > 0) return fd;
  closeSync(fd);
  return undefined;
}

/** Deletes the temp directories below `parent` whose makers are gone; answers how many. Missing `parent` is none. */
export async function recoverStaleTempDirectories(parent: string): Promise<number> {
  let recovered = 0;
  const numbers = (await namesIn(parent)).map((name) => /^(?:lock|temp-dir)-(.+)$/.exec(name)?.[1]);
  for (const number of new Set(numbers)) {
    if (number === undefined) continue;
    const lockPath = join(parent, `lock-${number}`);
    // A directory without a lock file was left by a recovery that died between its two deletions.
    const lock = openSync(lockPath, constants.O_RDWR | constants.O_CREAT, 0o644);
    try {
      if (!tryLockFile(lock, 'exclusive') || fstatSync(lock).nlink === 0) continue;
      await rm(join(parent, `temp-dir-${number}`), { recursive: true, force: true });
      unlinkSync(lockPath);
      recovered++;
    } finally {
      closeSync(lock);
    }
  }
  return recovered;
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}
