import { Failure, codeOf, kindOf, wrap } from '../../errors/index.ts';
import { type Digest, algorithmOf, hexOf } from '../../ids/index.ts';
import { parseManifest } from '../manifest.ts';
import { type RegistryClient, readBlob } from '../registry/index.ts';
import { MAX_SIGNATURE_BYTES, MAX_SIGNATURES, type Signature } from './signatures.ts';

/**
 * Sigstore signatures that stand in the registry beside the image, under the tag `<algorithm>-<hex>.sig`, one a layer [I32].
 * No such tag is no signature; anything else that cannot be read fails.
 */
export async function readAttachments(client: RegistryClient, digest: Digest, signal: AbortSignal): Promise<readonly Signature[]> {
  const tag = `${algorithmOf(digest)}-${hexOf(digest)}.sig`;
  let answer: { readonly bytes: Buffer; readonly contentType: string };
  try {
    answer = await client.manifest(tag, signal);
  } catch (error) {
    if (kindOf(error) === 'NotFound' || codeOf(error) === 'MANIFEST_UNKNOWN') return [];
    throw wrap('reading sigstore attachment', error);
  }
  const manifest = parseManifest(answer.bytes, answer.contentType);
  if (manifest.kind !== 'image')
    throw new Failure('Unknown', `sigstore attachment ${tag} is no image manifest`, { code: 'INVALID_DOCUMENT' });
  if (manifest.layers.length > MAX_SIGNATURES)
    throw new Failure('ResourceExhausted', `sigstore attachment ${tag} has more than ${MAX_SIGNATURES} signatures`);
  const signatures: Signature[] = [];
  for (const layer of manifest.layers) {
    const payload = await readBlob(client, layer, MAX_SIGNATURE_BYTES, signal);
    signatures.push({ kind: 'sigstore', mediaType: layer.mediaType, payload, annotations: layer.annotations });
  }
  return signatures;
}
