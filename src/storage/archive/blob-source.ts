import { Decryptor } from './decryption.ts';
import { Meter } from './meter.ts';
import type { UnpackJob } from './types.ts';

/** A piece of the blob in a buffer that goes back to the main thread when it is used up. */
export interface BlobChunk {
  readonly bytes: Buffer;
}

/**
 * The blob on the unpacking thread: a queue filled by messages and emptied by the pipeline. It is hashed on arrival,
 * so the digest covers the whole blob however much of it the pipeline wanted. An encrypted one is decrypted then, too.
 */
export class BlobSource {
  readonly meter: Meter;
  /** Of an encrypted blob. */
  readonly decryptor: Decryptor | undefined;
  readonly #giveBack: (chunk: BlobChunk) => unknown;
  #queue: BlobChunk[] = [];
  #ended = false;
  #draining = false;
  #aborted: Error | undefined;
  #wake = Promise.withResolvers<void>();

  constructor(o: Pick<UnpackJob, 'blobDigest' | 'decryption'>, giveBack: (chunk: BlobChunk) => unknown) {
    this.meter = new Meter(o.blobDigest);
    this.decryptor = o.decryption && new Decryptor(o.decryption, o.blobDigest);
    this.#giveBack = giveBack;
  }

  get aborted(): Error | undefined {
    return this.#aborted;
  }

  throwIfAborted(): void {
    if (this.#aborted !== undefined) throw this.#aborted;
  }

  push(chunk: BlobChunk): void {
    if (this.#aborted !== undefined) return;
    this.meter.update(chunk.bytes);
    this.decryptor?.decrypt(chunk.bytes);
    if (this.#draining) this.#giveBack(chunk);
    else this.#queue.push(chunk);
    this.#notify();
  }

  end(): void {
    this.#ended = true;
    this.#notify();
  }

  abort(reason: Error): void {
    this.#aborted ??= reason;
    this.#queue = [];
    this.#notify();
  }

  /** The next piece, to be given to `release` after use; undefined at the end; rejects when the job was aborted. */
  async next(): Promise<BlobChunk | undefined> {
    for (;;) {
      this.throwIfAborted();
      const chunk = this.#queue.shift();
      if (chunk !== undefined || this.#ended) return chunk;
      await this.#wake.promise;
    }
  }

  release(chunk: BlobChunk): void {
    this.#giveBack(chunk);
  }

  /** A piece to look at before `next` hands it out: at least `length` bytes, or all there are. */
  async peek(length: number): Promise<Buffer> {
    for (;;) {
      this.throwIfAborted();
      const have = this.#queue.reduce((sum, chunk) => sum + chunk.bytes.length, 0);
      if (have >= length || this.#ended)
        return Buffer.concat(this.#queue.map((chunk) => chunk.bytes.subarray(0, length))).subarray(0, length);
      await this.#wake.promise;
    }
  }

  /** Lets the rest of the blob pass, for its digest. */
  async drain(): Promise<void> {
    this.#draining = true;
    for (const chunk of this.#queue.splice(0)) this.#giveBack(chunk);
    while (!this.#ended) {
      this.throwIfAborted();
      await this.#wake.promise;
    }
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = Promise.withResolvers<void>();
    wake.resolve();
  }
}
