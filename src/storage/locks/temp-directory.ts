import { closeSync, constants, fstatSync, lstatSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { randomInt } from 'node:crypto';
import { basename, join } from 'node:path';
import { codeOf } from '../../errors/index.ts';
import { tryLockFile } from '../../linux/index.ts';

/**
 * A directory beside or around a held lock file: what lies in it vanishes when this process does, because anybody
 * who can take the lock deletes the directory.
 */
export class TempDirectory {
  readonly path: string;
  readonly #lock: HeldLock;
  #items = 0;

  private constructor(path: string, lock: HeldLock) {
    this.path = path;
    this.#lock = lock;
  }

  /** `temp-dir-<n>` beside `lock-<n>` below `parent` (docs/reference/cri-o-ondisk.md §2.4). */
  static beside(parent: string): TempDirectory {
    mkdirSync(parent, { recursive: true, mode: 0o700 });
    for (;;) {
      const number = randomInt(2 ** 32);
      const lock = takeNew(join(parent, `lock-${number}`));
      if (lock === undefined) continue;
      const path = join(parent, `temp-dir-${number}`);
      mkdirSync(path, { mode: 0o700 });
      return new TempDirectory(path, lock);
    }
  }

  /** `<random>` with `staging.lock` in it, below `parent`, as for partial pulls (§2.2). */
  static around(parent: string): TempDirectory {
    mkdirSync(parent, { recursive: true, mode: 0o700 });
    for (;;) {
      const path = join(parent, `crio-${randomInt(2 ** 47)}`);
      mkdirSync(path, { mode: 0o700 });
      const lock = takeNew(join(path, STAGING_LOCK));
      if (lock !== undefined) return new TempDirectory(path, lock);
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

  /** Deletes everything, then lets go of the lock. */
  async close(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
    rmSync(this.#lock.path, { force: true });
    closeSync(this.#lock.fd);
  }
}

const STAGING_LOCK = 'staging.lock';

interface HeldLock {
  readonly path: string;
  readonly fd: number;
}

/** A new lock file, held; undefined if the name exists or a stale recovery was faster. The descriptor is the caller's. */
function takeNew(path: string): HeldLock | undefined {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o644);
  } catch (error) {
    if (codeOf(error) === 'EEXIST' || codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  if (tryLockFile(fd, 'exclusive') && fstatSync(fd).nlink > 0) return { path, fd };
  closeSync(fd);
  return undefined;
}

/** Deletes the directories of `beside` below `parent` whose makers are gone; answers how many. Missing `parent` is none. */
export async function recoverBeside(parent: string): Promise<number> {
  const numbers = (await namesIn(parent)).map((name) => /^(?:lock|temp-dir)-(.+)$/.exec(name)?.[1]);
  let recovered = 0;
  for (const number of new Set(numbers)) {
    if (number === undefined) continue;
    // A directory without a lock file was left by a recovery that died between its two deletions.
    if (await deleteIfStale(join(parent, `temp-dir-${number}`), join(parent, `lock-${number}`))) recovered++;
  }
  return recovered;
}

/** The same for directories of `around`. */
export async function recoverAround(parent: string): Promise<number> {
  let recovered = 0;
  for (const name of await namesIn(parent)) {
    const path = join(parent, name);
    if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) continue;
    if (await deleteIfStale(path, join(path, STAGING_LOCK))) recovered++;
  }
  return recovered;
}

async function deleteIfStale(path: string, lockPath: string): Promise<boolean> {
  const lock = openLock(lockPath);
  if (lock === undefined) return false;
  try {
    if (!tryLockFile(lock, 'exclusive') || fstatSync(lock).nlink === 0) return false;
    await rm(path, { recursive: true, force: true });
    rmSync(lockPath, { force: true });
    return true;
  } finally {
    closeSync(lock);
  }
}

/** Undefined where somebody else was faster, and the directory of the lock is gone. The descriptor is the caller's. */
function openLock(path: string): number | undefined {
  try {
    return openSync(path, constants.O_RDWR | constants.O_CREAT, 0o644);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}
