import { codeOf } from '../../errors/index.ts';
import { type HexId, hexOf } from '../../ids/index.ts';
import type { Logger } from '../../log/index.ts';
import type { BigDataItem } from '../../storage/index.ts';
import type { PullProgress } from '../image.ts';
import { type Policy, enforcePolicy } from '../policy.ts';
import { type ImageReference, formatReference } from '../reference.ts';
import type { ImageStore } from '../store.ts';
import { type ChainLayer, LAYER_GONE, type LayerFetcher, type LayerListener, orLayerGone } from './layers.ts';
import { type Stage, pullFailure } from './outcome.ts';
import { type ResolvedImage, type SourceContext, openSource, resolveImage, sourceName } from './source.ts';
import { PullStory } from './story.ts';

export interface PullOrder {
  readonly reference: ImageReference;
  readonly source: SourceContext;
  readonly policy: Policy;
  readonly onProgress: (progress: PullProgress) => void;
}

/** Times that a pull fills in layers that somebody removed under its hands. */
const MAX_ROUNDS = 3;

/**
 * Brings one image into the store: policy, manifest, config, layers, and last the record that makes it visible.
 * Answers its id. Fails with the sentence that clients see; nothing staged is left behind, committed layers stay
 * for the next try.
 */
export async function pullImage(order: PullOrder, store: ImageStore, layers: LayerFetcher, signal: AbortSignal): Promise<HexId> {
  const { reference, source } = order;
  const log = source.log.with({ image: formatReference(reference) });
  const story = new PullStory(log);
  let stage: Stage = 'policy';
  try {
    enforcePolicy(order.policy, reference);
    stage = 'source';
    const opened = await openSource(reference, source, signal);
    stage = 'image';
    const image = await resolveImage(opened, reference, source, signal);
    const id = hexOf(image.manifest.config.digest) as HexId;
    tell(order, image, 'resolved');
    const chain = chainOf(image, store);
    story.plan(chain);
    await fillAndRecord({ order, image, id, chain, log, story }, store, layers, signal);
    tell(order, image, 'recorded');
    log.info(`Stored image ${id}: ${story.summary()}`);
    return id;
  } catch (error) {
    throw pullFailure(stage, sourceName(reference), error);
  } finally {
    story.end();
  }
}

interface Running {
  readonly order: PullOrder;
  readonly image: ResolvedImage;
  readonly id: HexId;
  readonly chain: readonly ChainLayer[];
  readonly log: Logger;
  readonly story: PullStory;
}

async function fillAndRecord(running: Running, store: ImageStore, layers: LayerFetcher, signal: AbortSignal): Promise<void> {
  const { order, image, id, chain, log, story } = running;
  const listener: LayerListener = (layer, step, offset) => {
    story.note(layer, step, offset);
    const { digest, mediaType, size } = layer.blob;
    order.onProgress({ digest, mediaType, step, offset, size, reference: formatReference(order.reference) });
  };
  for (let round = 1; ; round++) {
    try {
      await layers.ensure(chain, { client: image.client, log, weight: await missingBytes(chain, store) }, listener, signal);
      signal.throwIfAborted();
      await orLayerGone(store.createImage(recordOf(image, id, order.reference, chain.at(-1)?.id)));
      return;
    } catch (error) {
      // The last image above a shared layer may be removed between our finding the layer and our needing it.
      if (round === MAX_ROUNDS || signal.aborted || codeOf(error) !== LAYER_GONE) throw error;
      log.info('A layer was removed while it was needed: fetching it again');
    }
  }
}

/** Ids bottom-up, as the store computes them from the config's diff IDs (docs/reference/cri-o-ondisk.md §1.7). */
function chainOf(image: ResolvedImage, store: ImageStore): readonly ChainLayer[] {
  const chain: ChainLayer[] = [];
  for (const [index, blob] of image.manifest.layers.entries()) {
    const diffId = image.config.diffIds[index];
    if (diffId === undefined) continue; // checkImage has compared both lengths.
    const parent = chain.at(-1)?.id;
    chain.push({ id: store.layerId(parent, diffId), parent, diffId, blob });
  }
  return chain;
}

async function missingBytes(chain: readonly ChainLayer[], store: ImageStore): Promise<number> {
  const known = await Promise.all(chain.map((layer) => store.layer(layer.id)));
  return chain.reduce((sum, layer, index) => sum + (known[index] === undefined ? layer.blob.size : 0), 0);
}

/** The record and its data in the order of docs/reference/cri-o-ondisk.md §1.3 [I50]. */
function recordOf(image: ResolvedImage, id: HexId, reference: ImageReference, top: HexId | undefined) {
  const { index, manifestBytes, manifestDigest, manifest } = image;
  const bigData: BigDataItem[] = [{ key: manifest.config.digest, data: image.configBytes }];
  if (index !== undefined) bigData.push({ key: `manifest-${index.digest}`, data: index.bytes, digest: index.digest });
  bigData.push({ key: `manifest-${manifestDigest}`, data: manifestBytes, digest: manifestDigest });
  bigData.push({ key: 'manifest', data: manifestBytes, digest: manifestDigest });
  return {
    id,
    names: [formatReference(reference)],
    layer: top,
    digest: index?.digest ?? manifestDigest,
    created: image.config.created ?? new Date(),
    metadata: '{}',
    bigData,
  };
}

function tell(order: PullOrder, image: ResolvedImage, step: 'resolved' | 'recorded'): void {
  const size = image.manifestBytes.length;
  const { mediaType } = image.manifest;
  order.onProgress({ digest: image.manifestDigest, mediaType, step, offset: size, size, reference: formatReference(order.reference) });
}
