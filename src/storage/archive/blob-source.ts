import { createHash } from 'node:crypto';
import { type Digest, algorithmOf, parseDigest } from '../../ids/index.ts';

/** A piece of the blob in a buffer that goes back to the main thread when it is used up. */
export interface BlobChunk {
  readonly bytes: Buffer;
}

/** Counts and hashes a stream. */
export class Meter {
  readonly #algorithm: string;
  readonly #hash;
  #bytes = 0;

  /** The digest's algorithm is taken from `like`. */
  constructor(like: Digest | undefined) {
    this.#algorithm = like === undefined ? 'sha256' : algorithmOf(like);
    this.#hash = createHash(this.#algorithm);
  }

  get algorithm(): string {
    return this.#algorithm;
  }

  get bytes(): number {
    return this.#bytes;
  }

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    this.#bytes += bytes.length;
  }

  /** Ends the hash; call it once. */
  digest(): Digest {
    const digest = parseDigest(`${this.#algorithm}:${this.#hash.digest('hex')}`);
    if (digest === undefined) throw new Error(`no digest has the algorithm ${this.#algorithm}`);
    return digest;
  }
}

/**
 * The blob on the unpacking thread: a queue filled by messages and emptied by the pipeline. It is hashed on arrival,
 * so the digest covers the whole blob however much of it the pipeline wanted.
 */
export class BlobSource {
  readonly meter: Meter;
  readonly #giveBack: (chunk: BlobChunk) => unknown;
  #queue: BlobChunk[] = [];
  #ended = false;
  #draining = false;
  #aborted: Error | undefined;
  #wake = Promise.withResolvers<void>();

  constructor(like: Digest, giveBack: (chunk: BlobChunk) => unknown) {
    this.meter = new Meter(like);
    this.#giveBack = giveBack;
  }

  get aborted(): Error | undefined {
    return this.#aborted;
  }

  push(chunk: BlobChunk): void {
    if (this.#aborted !== undefined) return;
    this.meter.update(chunk.bytes);
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
      if (this.#aborted !== undefined) throw this.#aborted;
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
      if (this.#aborted !== undefined) throw this.#aborted;
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
      if (this.#aborted !== undefined) throw this.#aborted;
      await this.#wake.promise;
    }
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = Promise.withResolvers<void>();
    wake.resolve();
  }
}
