import type { LockMode } from '../../linux/index.ts';
import type { Lock } from './lock.ts';

/** Several locks as one, taken in their order: layers.lock of the graph root and of the image store (docs/reference/cri-o-ondisk.md §2.2). */
export class LockSet implements Lock {
  readonly #locks: readonly Lock[];

  constructor(locks: readonly Lock[]) {
    this.#locks = locks;
  }

  async acquire(mode: LockMode): Promise<Disposable> {
    using held = new DisposableStack();
    for (const lock of this.#locks) held.use(await lock.acquire(mode));
    return held.move();
  }

  readRecord(): Buffer {
    return Buffer.concat(this.#locks.map((lock) => lock.readRecord()));
  }

  writeRecord(): Buffer {
    return Buffer.concat(this.#locks.map((lock) => lock.writeRecord()));
  }

  close(): void {
    for (const lock of this.#locks) lock.close();
  }
}
