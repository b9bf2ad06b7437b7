import { libc } from './libc.ts';

const closeFn = libc.func('int close(int)');

/**
 * close(2) of a descriptor that did not come from node:fs: its closeSync warns about those on worker threads.
 * Never repeated: on Linux the descriptor is gone even after EINTR.
 */
export function closeFd(fd: number): void {
  closeFn(fd);
}

/**
 * A file descriptor with one owner. Whoever holds it disposes it (`using file = openInRoot(…)`), or hands the bare
 * number to a new owner by `take()`; after either it is empty, and a second dispose does nothing.
 */
export class OwnedFd implements Disposable {
  #fd: number;

  constructor(fd: number) {
    if (!Number.isInteger(fd) || fd < 0) throw new RangeError(`not a file descriptor: ${fd}`);
    this.#fd = fd;
  }

  /** The number, still owned here. Throws after take() or dispose, so that a reused number is never touched. */
  get fd(): number {
    if (this.#fd < 0) throw new Error('file descriptor was already closed or handed on');
    return this.#fd;
  }

  /** Hands the number to a new owner. */
  take(): number {
    const fd = this.fd;
    this.#fd = -1;
    return fd;
  }

  [Symbol.dispose](): void {
    if (this.#fd >= 0) closeFd(this.take());
  }
}
