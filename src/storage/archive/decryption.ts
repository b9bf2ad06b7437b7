import { createDecipheriv, createHmac, timingSafeEqual } from 'node:crypto';
import { Failure } from '../../errors/index.ts';
import type { Digest } from '../../ids/index.ts';
import { Meter } from './meter.ts';
import type { ArchiveCode, LayerDecryption } from './types.ts';

/**
 * Turns an encrypted blob (AES_256_CTR_HMAC_SHA256) into what it holds, piece by piece and in place: the cipher keeps lengths.
 * The code covers the whole ciphertext, so nothing that was decrypted may be believed before `verify`.
 */
export class Decryptor {
  readonly #cipher;
  readonly #code;
  readonly #expected: Uint8Array;
  /** What was decrypted so far. */
  readonly meter: Meter;

  constructor({ key, nonce, mac }: LayerDecryption, like: Digest) {
    this.#cipher = createDecipheriv('aes-256-ctr', key, nonce);
    this.#code = createHmac('sha256', key);
    this.#expected = mac;
    this.meter = new Meter(like);
  }

  decrypt(bytes: Buffer): void {
    this.#code.update(bytes);
    const plain = this.#cipher.update(bytes);
    plain.copy(bytes);
    // Given back now: V8 would gather 64 MB before it looks.
    if (plain.buffer instanceof ArrayBuffer && plain.buffer.byteLength === plain.length) plain.buffer.transfer(0);
    this.meter.update(bytes);
  }

  /** Fails with MAC_MISMATCH unless the pieces were what was encrypted with this key; call it once, after the last. */
  verify(blob: Digest, cause: unknown): void {
    if (timingSafeEqual(this.#code.digest(), this.#expected)) return;
    const code: ArchiveCode = 'MAC_MISMATCH';
    // Neither code is told: one that fits is all that a forger of this layer would lack.
    throw new Failure('Unknown', `decrypting layer ${blob}: could not properly decrypt byte stream: its HMAC does not fit`, {
      code,
      advice: 'The layer was changed after it was encrypted: encrypt and push the image again.',
      ...(cause === undefined ? {} : { cause }),
    });
  }
}
