import { createHash } from 'node:crypto';

declare const brand: unique symbol;
/** `sha256:<64 lower-case hex>` (also sha384, sha512), checked. */
export type Digest = string & { readonly [brand]: 'Digest' };

const HEX_LENGTH: Readonly<Record<string, number>> = { sha256: 64, sha384: 96, sha512: 128 };

/** Parses a digest; undefined for anything else, unregistered algorithms included. */
export function parseDigest(text: string): Digest | undefined {
  const colon = text.indexOf(':');
  const length = Object.hasOwn(HEX_LENGTH, text.slice(0, colon)) ? HEX_LENGTH[text.slice(0, colon)] : undefined;
  const hex = text.slice(colon + 1);
  return length !== undefined && hex.length === length && /^[0-9a-f]+$/.test(hex) ? (text as Digest) : undefined;
}

export function sha256(data: string | Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(data).digest('hex')}` as Digest;
}

/** The hex part, without the algorithm. */
export function hexOf(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1);
}

export function algorithmOf(digest: Digest): string {
  return digest.slice(0, digest.indexOf(':'));
}
