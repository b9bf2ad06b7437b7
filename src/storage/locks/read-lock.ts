import { closeSync, openSync, readFileSync } from 'node:fs';
import { Failure, codeOf, wrap } from '../../errors/index.ts';
import { type LockMode, tryLockFile } from '../../linux/index.ts';
import type { Lock } from './lock.ts';

/**
 * The lock file of a root that is only read, perhaps on a read-only mount: taken shared, never made and never written. It is
 * open only while it is held, so that whoever mounted the root can unmount it. Who is writing there is not waited for, or a pull
 * into that root would stop this store as long as it takes: the records are read as they are, and files of records are replaced
 * as a whole. Where the lock file is missing nobody writes there.
 */
export class ReadLock implements Lock {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  async acquire(mode: LockMode): Promise<Disposable> {
    if (mode === 'exclusive') throw this.#refusal();
    const held = new DisposableStack();
    try {
      const fd = openSync(this.#path, 'r');
      held.defer(() => closeSync(fd));
      if (!tryLockFile(fd, 'shared')) held.dispose();
    } catch (error) {
      held.dispose();
      if (codeOf(error) !== 'ENOENT') throw wrap(`locking ${this.#path}`, error);
    }
    return await Promise.resolve(held);
  }

  readRecord(): Buffer {
    try {
      return readFileSync(this.#path);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return Buffer.alloc(0);
      throw wrap(`reading lock file ${this.#path}`, error);
    }
  }

  writeRecord(): Buffer {
    throw this.#refusal();
  }

  close(): void {
    // Nothing stays open.
  }

  #refusal(): Failure {
    return new Failure('Internal', `${this.#path} belongs to a store that is only read`);
  }
}
