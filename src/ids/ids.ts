import { randomBytes } from 'node:crypto';

declare const brand: unique symbol;
type Brand<T, B extends string> = T & { readonly [brand]: B };

/** 64 lower-case hex characters. */
export type HexId = Brand<string, 'HexId'>;
export type SandboxId = HexId & { readonly sandbox: true };
export type ContainerId = HexId & { readonly container: true };

const HEX64 = /^[0-9a-f]{64}$/;

export function isHexId(text: string): text is HexId {
  return HEX64.test(text);
}

/** A random id, redrawn while its first 12 characters are all digits, as containers/storage does [D3]. */
export function newHexId(): HexId {
  for (;;) {
    const id = randomBytes(32).toString('hex');
    if (!/^\d{12}/.test(id)) return id as HexId;
  }
}
