import type { Spoken } from './protocol.ts';

/** Bytes of a buffer, and how many of them may be on their way: 1 MiB a layer. */
const BUFFER = 256 * 1024;
const BUFFERS = 4;

/**
 * Sends a blob to an unpacking thread through a fixed set of buffers that are transferred there and back: a buffer
 * that has come back is the credit for the next piece. Small pieces are gathered, unless the thread has nothing to do.
 */
export class BlobFeeder {
  readonly #send: (message: Spoken, transfer: ArrayBuffer[]) => void;
  readonly #onProgress: (bytes: number) => void;
  #free: ArrayBuffer[] = [];
  #made = 0;
  #away = 0;
  #current: Uint8Array<ArrayBuffer> | undefined;
  #filled = 0;
  #worked = 0;
  #stopped = false;
  #iterator: AsyncIterator<Uint8Array> | undefined;
  #change = Promise.withResolvers<void>();

  constructor(send: (message: Spoken, transfer: ArrayBuffer[]) => void, onProgress: (bytes: number) => void) {
    this.#send = send;
    this.#onProgress = onProgress;
  }

  /** Sends all of the blob and its end. Rejects with the blob's own error; ends early after `stop`. */
  async feed(blob: AsyncIterable<Uint8Array>): Promise<void> {
    const iterator = blob[Symbol.asyncIterator]();
    this.#iterator = iterator;
    for (let piece = await iterator.next(); piece.done !== true; piece = await iterator.next()) {
      await this.#add(piece.value);
      if (this.#stopped) return;
      if (this.#away === 0) this.#flush();
    }
    if (this.#stopped) return;
    this.#flush();
    this.#send({ kind: 'end' }, []);
  }

  /** A buffer came back. */
  taken(buffer: ArrayBuffer, length: number): void {
    this.#away--;
    this.#free.push(buffer);
    this.#worked += length;
    if (this.#away === 0 && !this.#stopped) this.#flush();
    this.#change.resolve();
    this.#change = Promise.withResolvers<void>();
    this.#onProgress(this.#worked);
  }

  /** The job is over: nothing more is sent, and the blob is told that nobody reads it. */
  stop(): void {
    this.#stopped = true;
    this.#change.resolve();
    // A blob that is being waited for ends in its own time; its error concerns nobody any more.
    this.#iterator?.return?.().catch(() => {});
  }

  async #add(piece: Uint8Array): Promise<void> {
    for (let at = 0; at < piece.length && !this.#stopped;) {
      const current = (this.#current ??= this.#take());
      if (current === undefined) {
        await this.#change.promise;
        continue;
      }
      const length = Math.min(piece.length - at, BUFFER - this.#filled);
      current.set(piece.subarray(at, at + length), this.#filled);
      this.#filled += length;
      at += length;
      if (this.#filled === BUFFER) this.#flush();
    }
  }

  #take(): Uint8Array<ArrayBuffer> | undefined {
    const free = this.#free.pop();
    if (free !== undefined) return new Uint8Array(free);
    if (this.#made === BUFFERS) return undefined;
    this.#made++;
    return new Uint8Array(BUFFER);
  }

  #flush(): void {
    const current = this.#current;
    if (current === undefined || this.#filled === 0) return;
    this.#current = undefined;
    this.#away++;
    this.#send({ kind: 'chunk', buffer: current.buffer, length: this.#filled }, [current.buffer]);
    this.#filled = 0;
  }
}
