import { closeSync, constants, mkdirSync, openSync, readSync, writeSync } from 'node:fs';
import { randomFillSync } from 'node:crypto';
import { dirname } from 'node:path';
import { nowNs } from '../../clock/index.ts';
import { type BlockingCalls, type LockMode, unlockFile } from '../../linux/index.ts';
import type { Lock } from './lock.ts';

const RECORD_BYTES = 64;

/**
 * A lock file that Go's tools share with us (docs/reference/cri-o-ondisk.md §2): first a queue inside this process,
 * first come, first served, readers together; then the file's record lock, which other processes see.
 * The descriptor stays open until `close`: lock files are never replaced or deleted.
 */
export class LockFile implements Lock {
  readonly path: string;
  readonly #fd: number;
  readonly #calls: BlockingCalls;
  readonly #queue: { readonly mode: LockMode; readonly granted: () => void }[] = [];
  #mode: LockMode = 'shared';
  #holders = 0;
  /** Settles when the file's lock is held for the present holders. */
  #fileLock: Promise<void> | undefined;
  #writes = 0n;

  /** Opens or creates the file (0644) and its directory (0700). */
  constructor(path: string, calls: BlockingCalls) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    this.path = path;
    this.#fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o644);
    this.#calls = calls;
  }

  /** Waits for the lock; `using` lets go of it. Without contention it takes microseconds and no turn of the event loop. */
  async acquire(mode: LockMode): Promise<Disposable> {
    if (this.#queue.length > 0 || !this.#fits(mode)) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#queue.push({ mode, granted: resolve });
      await promise; // Whoever grants has counted us in.
    } else this.#enter(mode);
    try {
      await (this.#fileLock ??= this.#calls.lockFile(this.#fd, mode));
    } catch (error) {
      this.#leave();
      throw error;
    }
    return { [Symbol.dispose]: () => this.#leave() };
  }

  /** Whether somebody in this process holds the lock exclusively: what is in memory is then the newest there is. */
  get heldExclusively(): boolean {
    return this.#holders > 0 && this.#mode === 'exclusive';
  }

  /** The last writer's record, to be compared only; empty if nobody has written yet. Read it while holding the lock. */
  readRecord(): Buffer {
    const record = Buffer.alloc(RECORD_BYTES);
    return record.subarray(0, readSync(this.#fd, record, 0, RECORD_BYTES, 0));
  }

  /** Makes this process the last writer and answers the record to remember. Write it before the files it announces are replaced. */
  writeRecord(): Buffer {
    const record = randomFillSync(Buffer.alloc(RECORD_BYTES));
    record.writeBigUInt64LE(nowNs(), 0);
    record.writeBigUInt64LE(++this.#writes, 8);
    record.writeUInt32LE(process.pid, 16);
    writeSync(this.#fd, record, 0, RECORD_BYTES, 0);
    return record;
  }

  /** Only when nobody holds or waits. */
  close(): void {
    closeSync(this.#fd);
  }

  #fits(mode: LockMode): boolean {
    return this.#holders === 0 || (mode === 'shared' && this.#mode === 'shared');
  }

  #enter(mode: LockMode): void {
    this.#mode = mode;
    this.#holders++;
  }

  #leave(): void {
    if (--this.#holders > 0) return;
    if (this.#fileLock !== undefined) unlockFile(this.#fd);
    this.#fileLock = undefined;
    for (let next = this.#queue[0]; next !== undefined && this.#fits(next.mode); next = this.#queue[0]) {
      this.#queue.shift();
      this.#enter(next.mode);
      next.granted();
    }
  }
}
