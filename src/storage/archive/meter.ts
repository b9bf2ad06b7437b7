import { createHash } from 'node:crypto';
import { type Digest, algorithmOf, parseDigest } from '../../ids/index.ts';

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
