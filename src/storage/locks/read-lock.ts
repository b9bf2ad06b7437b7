import { closeSync, openSync, readFileSync } from 'node:fs';
import { Failure, codeOf, wrap } from '../../errors/index.ts';
import type { BlockingCalls, LockMode } from '../../linux/index.ts';
import type { Lock } from './lock.ts';

/**
 * The lock file of a root that is only read, perhaps on a read-only mount: taken shared, never made and never written. It is
 * open only while it is held, so that whoever mounted the root can unmount it. Where it is missing nobody writes there.
 */
export class ReadLock implements Lock {
  readonly #path: string;
  readonly #calls: BlockingCalls;

  constructor(path: string, calls: BlockingCalls) {
    this.#path = path;
    this.#calls = calls;
  }

  async acquire(mode: LockMode): Promise<Disposable> {
    if (mode === 'exclusive') throw this.#refusal();
    let fd: number;
    try {
      fd = openSync(this.#path, 'r');
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return { [Symbol.dispose]: () => {} };
      throw wrap(`opening lock file ${this.#path}`, error);
    }
    try {
      await this.#calls.lockFile(fd, 'shared');
    } catch (error) {
      closeSync(fd);
      throw wrap(`locking ${this.#path}`, error);
    }
    return { [Symbol.dispose]: () => closeSync(fd) };
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
