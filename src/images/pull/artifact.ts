import { Failure } from '../../errors/index.ts';
import { type HexId, hexOf } from '../../ids/index.ts';
import type { ArtifactStore } from '../../storage/index.ts';
import type { Artifact, Descriptor } from '../manifest.ts';
import { type RegistryClient, blobStream } from '../registry/index.ts';
import { spaceOf } from './limits.ts';
import type { Instance } from './source.ts';
import { together } from './together.ts';

export interface ArtifactOrder {
  readonly client: RegistryClient;
  readonly instance: Instance;
  /** As the artifact will be found: `host/repository:tag`. */
  readonly name: string;
  readonly onStep: (blob: Descriptor, step: 'downloading' | 'downloaded' | 'reused', offset: number) => void;
}

/** Brings an artifact into the artifact store: its blobs side by side, then its name [I51, I54]. Answers the manifest digest's hex [I1]. */
export async function storeArtifact(
  artifact: Artifact,
  order: ArtifactOrder,
  store: ArtifactStore,
  graphRoot: string,
  signal: AbortSignal,
): Promise<HexId> {
  const { client, instance, name, onStep } = order;
  if (artifact.config === undefined)
    throw new Failure('Unimplemented', `artifact of type ${JSON.stringify(artifact.mediaType)} has no config and no layers`, {
      code: 'UNSUPPORTED',
    });
  const blobs = [artifact.config, ...artifact.layers];
  await checkSpace(blobs, store, graphRoot);
  const distinct = [...new Map(blobs.map((blob) => [blob.digest, blob])).values()];
  const fetch = async (blob: Descriptor, shared: AbortSignal) => {
    if (store.hasBlob(blob.digest)) return onStep(blob, 'reused', blob.size);
    const counted = progressOf(blobStream(client, blob, shared), (offset) => onStep(blob, 'downloading', offset));
    await store.putBlob(blob.digest, blob.size, counted);
    onStep(blob, 'downloaded', blob.size);
  };
  const { digest, bytes } = instance;
  const digests = distinct.map((blob) => blob.digest);
  await store.gathering([...digests, digest], async () => {
    // A few at a time, in order: artifacts may have many large files.
    for (let at = 0; at < distinct.length; at += AT_ONCE)
      await together((shared) => distinct.slice(at, at + AT_ONCE).map((blob) => fetch(blob, shared)), signal);
    await store.add({ name, digest, mediaType: artifact.mediaType, manifest: bytes, blobs: digests });
  });
  return hexOf(digest) as HexId;
}

const AT_ONCE = 3;

/** What is larger than the room that there is, is not even begun. */
async function checkSpace(blobs: readonly Descriptor[], store: ArtifactStore, graphRoot: string): Promise<void> {
  const needed = blobs.filter(({ digest }) => !store.hasBlob(digest)).reduce((sum, { size }) => sum + size, 0);
  const { free } = await spaceOf(graphRoot);
  if (needed > free)
    throw new Failure('ResourceExhausted', `artifact needs ${needed} bytes, ${free} are free below ${graphRoot}`, {
      code: 'ENOSPC',
      advice: 'Make room below the storage root.',
    });
}

async function* progressOf(bytes: AsyncIterable<Buffer>, onProgress: (offset: number) => void): AsyncGenerator<Buffer> {
  let offset = 0;
  for await (const piece of bytes) {
    yield piece;
    onProgress((offset += piece.length));
  }
}
