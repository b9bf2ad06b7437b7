import type { Digest } from '../ids/index.ts';
import type { Json, LayerRecord } from './types.ts';

/**
 * Flag of a layer whose contents are here because somebody could decrypt them: a text for each key that opened a blob of it, by
 * which a holder of that key is known. Diff IDs are public, so an id alone must not open such a layer to others [a47].
 */
const PROOFS = 'decryption-proofs';

/**
 * Whether a pull may take a layer that is in the store instead of fetching it. One that was decrypted: with a key of it, or by naming
 * the blob that was encrypted, which nobody can who has not seen it.
 */
export function mayReuse(record: LayerRecord, blob: { readonly digest: Digest; readonly proof?: string | undefined }): boolean {
  const proofs = proofsOf(record);
  if (proofs === undefined) return true;
  if (blob.proof !== undefined) return proofs.includes(blob.proof);
  return blob.digest === record.compressedDiffDigest && blob.digest !== record.diffDigest;
}

/** Whether the contents of a layer are here for holders of a key of it only. */
export function isDecrypted(record: LayerRecord): boolean {
  return proofsOf(record) !== undefined;
}

export function flagsOf(proof: string | undefined): ReadonlyMap<string, Json> {
  return new Map(proof === undefined ? [] : [[PROOFS, [proof]]]);
}

/**
 * The record of a layer whose contents were brought once more: with the proof added, or, when they came unencrypted, without any;
 * undefined where it says so already.
 */
export function withProof(record: LayerRecord, proof: string | undefined): LayerRecord | undefined {
  const proofs = proofsOf(record);
  if (proofs === undefined || (proof !== undefined && proofs.includes(proof))) return undefined;
  const flags = new Map(record.flags);
  if (proof === undefined) flags.delete(PROOFS);
  else flags.set(PROOFS, [...proofs, proof].slice(-MAX_PROOFS));
  return { ...record, flags };
}

/** Images that are encrypted anew at each build shall not make the record grow for ever. */
const MAX_PROOFS = 32;

function proofsOf(record: LayerRecord): readonly Json[] | undefined {
  const proofs = record.flags.get(PROOFS);
  if (proofs === undefined) return undefined;
  return Array.isArray(proofs) ? (proofs as readonly Json[]) : [];
}
