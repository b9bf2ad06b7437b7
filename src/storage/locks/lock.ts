import type { LockMode } from '../../linux/index.ts';

/** What guards records that several processes share (docs/reference/cri-o-ondisk.md §2). */
export interface Lock {
  /** Waits for the lock; `using` lets go of it. */
  acquire(mode: LockMode): Promise<Disposable>;
  /** The last writer's record, to be compared only; empty if nobody has written yet. Read it while holding the lock. */
  readRecord(): Buffer;
  /** Makes this process the last writer and answers the record to remember. Write it before the files it announces are replaced. */
  writeRecord(): Buffer;
  /** Only when nobody holds or waits. */
  close(): void;
}
