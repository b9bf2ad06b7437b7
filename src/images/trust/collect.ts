import type { Digest } from '../../ids/index.ts';
import type { ImageReference } from '../reference.ts';
import type { RegistryClient, Transport, Trust } from '../registry/index.ts';
import { readAttachments } from './attachments.ts';
import { readLookaside } from './lookaside.ts';
import { loadSignaturePlaces, lookasideOf, usesAttachments } from './registries-d.ts';
import type { Signature } from './signatures.ts';

/** Where the signatures of an image are looked for. */
export interface SignatureSource {
  /** `registries.d` directories; the first that exists counts [I32]. */
  readonly dirs: readonly string[];
  /** Lookaside of images for which none is said: a URL, '' for none. */
  readonly fallback: string;
  /** The image where it is fetched from. */
  readonly reference: ImageReference;
  readonly client: RegistryClient;
  readonly transport: Transport;
  /** For lookasides: the machine's roots alone. */
  readonly trust: Trust;
}

/** All signatures of a manifest, from the lookaside first; those beside the image only where registries.d says so [I32]. */
export async function collectSignatures(source: SignatureSource, digest: Digest, signal: AbortSignal): Promise<readonly Signature[]> {
  const places = await loadSignaturePlaces(source.dirs);
  const base = lookasideOf(places, source.reference) || source.fallback;
  const aside = base === '' ? [] : await readLookaside(base, source.reference, digest, source.transport, source.trust, signal);
  const beside = usesAttachments(places, source.reference) ? await readAttachments(source.client, digest, signal) : [];
  return [...aside, ...beside];
}
