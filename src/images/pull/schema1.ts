import { hexOf, sha256 } from '../../ids/index.ts';
import type { HexId } from '../../ids/index.ts';
import type { StagedLayer, UnpackedLayer } from '../../storage/index.ts';
import { type Descriptor, UNKNOWN_SIZE } from '../manifest.ts';
import { type Schema1Manifest, configOfSchema1 } from '../schema1.ts';
import type { ImageStore } from '../store.ts';
import { type ChainLayer, type LayerFetcher, type LayerListener, type LayerOrder, orLayerGone } from './layers.ts';
import { together } from './together.ts';

/** What is known of the image when its layers are in the store. */
export interface Schema1Image {
  readonly chain: readonly ChainLayer[];
  readonly config: Buffer;
  readonly id: HexId;
}

/** Its layers as a pull shows them, before their diff IDs are known: under their blobs' digests. */
export function blobsOf(manifest: Schema1Manifest): readonly ChainLayer[] {
  return manifest.layers
    .filter(({ isThrowAway }) => !isThrowAway)
    .map(({ digest }) => ({ id: hexOf(digest) as HexId, parent: undefined, diffId: digest, blob: descriptor(digest) }));
}

/**
 * Brings the layers of docker's first format into the store. What they unpack to, and so their ids, shows only when they
 * are unpacked: they are fetched side by side, and then committed bottom-up [I43, I47]. Layers that some image brought
 * before are not fetched again.
 */
export async function fillSchema1(
  manifest: Schema1Manifest,
  parts: { readonly store: ImageStore; readonly layers: LayerFetcher; readonly order: LayerOrder; readonly listener: LayerListener },
  signal: AbortSignal,
): Promise<Schema1Image> {
  const { store, layers, order, listener } = parts;
  const wanted = blobsOf(manifest);
  const chain = await presentPart(wanted, store);
  for (const layer of wanted.slice(0, chain.length)) listener(layer, 'reused', 0);
  const missing = wanted.slice(chain.length);
  const staged: StagedLayer[] = [];
  try {
    for (const _ of missing) staged.push(await store.stageLayer());
    const unpack = async (layer: ChainLayer, index: number, shared: AbortSignal): Promise<UnpackedLayer> => {
      const place = staged[index];
      if (place === undefined) throw new RangeError(`layer ${index} is not staged`);
      const anonymous = { blob: layer.blob, diffId: undefined };
      const content = await layers.unpackBlob(anonymous, place, order, shared, (offset) => listener(layer, 'downloading', offset));
      listener(layer, 'downloaded', content.blobSize);
      return content;
    };
    const contents = await together((shared) => missing.map((layer, index) => unpack(layer, index, shared)), signal);
    for (const [index, content] of contents.entries()) {
      const layer = missing[index];
      const parent = chain.at(-1)?.id;
      if (layer === undefined) break;
      const made = { id: store.layerId(parent, content.diffId), parent, diffId: content.diffId, blob: layer.blob };
      const commit = staged[index]?.commit({ ...content, id: made.id, parent });
      if (commit !== undefined) await orLayerGone(commit);
      chain.push(made);
      listener(layer, 'committed', content.blobSize);
    }
  } finally {
    await Promise.all(staged.map((layer) => layer.discard()));
  }
  const config = configOfSchema1(
    manifest,
    chain.map(({ diffId }) => diffId),
  );
  return { chain, config, id: hexOf(sha256(config)) as HexId };
}

/** The lowest layers, as far as all of them are in the store. */
async function presentPart(wanted: readonly ChainLayer[], store: ImageStore): Promise<ChainLayer[]> {
  const chain: ChainLayer[] = [];
  for (const { blob } of wanted) {
    const diffId = await store.diffIdOf(blob.digest);
    const parent = chain.at(-1)?.id;
    if (diffId === undefined) break;
    const id = store.layerId(parent, diffId);
    if ((await store.layer(id)) === undefined) break;
    chain.push({ id, parent, diffId, blob });
  }
  return chain;
}

function descriptor(digest: Descriptor['digest']): Descriptor {
  return { mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip', digest, size: UNKNOWN_SIZE, urls: [], annotations: new Map() };
}
