import { codeOf, textOf } from '../../errors/index.ts';
import { type Digest, type HexId, hexOf, sha256 } from '../../ids/index.ts';
import type { Logger } from '../../log/index.ts';
import type { BigDataItem, NewImage } from '../../storage/index.ts';
import { type DecryptionKeys, type LayerKey, unwrapLayerKeys } from '../decryption/index.ts';
import type { PullProgress } from '../image.ts';
import { type Artifact, type Descriptor, type ImageManifest, UNKNOWN_SIZE } from '../manifest.ts';
import { type ImageReference, formatReference } from '../reference.ts';
import type { Schema1Manifest } from '../schema1.ts';
import type { ImageStore } from '../store.ts';
import { type Policy, type Signature, encodeSignature, enforcePolicy, refuseRejected, wantsSignatures } from '../trust/index.ts';
import { type ArtifactOrder, storeArtifact } from './artifact.ts';
import { type ChainLayer, LAYER_GONE, type LayerFetcher, type LayerListener, isThere, orLayerGone } from './layers.ts';
import { type Stage, pullFailure } from './outcome.ts';
import { blobsOf, fillSchema1 } from './schema1.ts';
import {
  type Instance,
  type OpenedSource,
  type ResolvedImage,
  type SourceContext,
  instanceOf,
  notAnImage,
  openSource,
  resolveImage,
  signaturesOf,
  sourceName,
} from './source.ts';
import { PullStory } from './story.ts';

export interface PullOrder {
  readonly reference: ImageReference;
  readonly source: SourceContext;
  readonly policy: Policy;
  readonly keys: DecryptionKeys;
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
    refuseRejected(order.policy, reference);
    stage = 'source';
    const opened = await openSource(reference, source, signal);
    stage = 'image';
    const instance = await instanceOf(opened, reference, source, signal);
    const { digest } = instance;
    story.spentOn('manifest');
    const signatures = await signaturesOf(opened, instance, source, wantsSignatures(order.policy, reference), signal);
    stage = 'policy';
    await enforcePolicy(order.policy, { reference, digest, signatures }, signal);
    story.spentOn('policy');
    if (instance.manifest.kind === 'artifact') {
      stage = 'artifact';
      return await pullArtifact(order, opened, instance, instance.manifest, store, signal);
    }
    stage = 'image';
    const image = await resolveImage(opened, instance, source, signal);
    story.spentOn('manifest');
    tell(order, image, 'resolved');
    const id = await fillAndRecord({ order, image, signatures, log, story, store, layers }, signal);
    story.spentOn('record');
    tell(order, image, 'recorded');
    log.info(`Stored image ${id} from ${formatReference(opened.reference)}: ${story.summary()}`);
    return id;
  } catch (error) {
    throw pullFailure(stage, sourceName(reference), error);
  } finally {
    story.end();
  }
}

/** What is no container image goes into the artifact store [I51]. */
async function pullArtifact(
  order: PullOrder,
  opened: OpenedSource,
  instance: Instance,
  artifact: Artifact,
  store: ImageStore,
  signal: AbortSignal,
): Promise<HexId> {
  const name = formatReference(order.reference);
  const why = textOf(notAnImage(artifact));
  order.source.log.info(`Falling back to pull ${name} as an OCI artifact: ${why}`);
  const onStep: ArtifactOrder['onStep'] = ({ digest, mediaType, size }, step, offset) =>
    order.onProgress({ digest, mediaType, step, offset, size, reference: name, from: opened.client.host });
  return await storeArtifact(artifact, { client: opened.client, instance, name, onStep }, store.artifacts, store.graphRoot, signal);
}

interface Running {
  readonly order: PullOrder;
  readonly image: ResolvedImage;
  readonly signatures: readonly Signature[];
  readonly log: Logger;
  readonly story: PullStory;
  readonly store: ImageStore;
  readonly layers: LayerFetcher;
}

/** An image whose layers are in the store. */
interface FilledImage {
  readonly id: HexId;
  readonly top: HexId | undefined;
  readonly configDigest: Digest;
  readonly config: Buffer;
}

async function fillAndRecord(running: Running, signal: AbortSignal): Promise<HexId> {
  const { image, signatures, order, log, story, store } = running;
  for (let round = 1; ; round++) {
    try {
      const filled = await (image.manifest.kind === 'schema1'
        ? fillOldImage(running, image.manifest, signal)
        : fillImage(running, image.manifest, signal));
      story.spentOn('layers');
      signal.throwIfAborted();
      const wanted = recordOf(image, filled, signatures, order.reference);
      if (!(await isStored(wanted, store))) await orLayerGone(store.createImage(wanted));
      return filled.id;
    } catch (error) {
      // The last image above a shared layer may be removed between our finding the layer and our needing it.
      if (round === MAX_ROUNDS || signal.aborted || codeOf(error) !== LAYER_GONE) throw error;
      log.info('A layer was removed while it was needed: fetching it again');
    }
  }
}

async function fillImage(running: Running, manifest: ImageManifest, signal: AbortSignal): Promise<FilledImage> {
  const { image, order, log, story, store, layers } = running;
  // Asked for at each pull, before anything is fetched, and for layers that are here as well [a47].
  const keys = await unwrapLayerKeys(manifest.layers, order.keys, signal);
  const chain = chainOf(manifest, image.config.diffIds, keys, store);
  story.plan(chain);
  const { partialImages, hardLinks } = running.order.source.settings;
  const parts = partialImages ? { hardLinks } : undefined;
  const weight = await missingBytes(chain, store);
  await layers.ensure(chain, { client: image.client, log, weight, parts }, listenerOf(running), signal);
  const { digest } = manifest.config;
  return { id: hexOf(digest) as HexId, top: chain.at(-1)?.id, configDigest: digest, config: image.configBytes };
}

async function fillOldImage(running: Running, manifest: Schema1Manifest, signal: AbortSignal): Promise<FilledImage> {
  const { image, log, story, store, layers } = running;
  story.plan(blobsOf(manifest));
  const order = { client: image.client, log, weight: 0, parts: undefined };
  const { id, chain, config } = await fillSchema1(manifest, { store, layers, order, listener: listenerOf(running) }, signal);
  return { id, top: chain.at(-1)?.id, configDigest: sha256(config), config };
}

function listenerOf({ order, story, image }: Running): LayerListener {
  return (layer, step, offset) => {
    story.note(layer, step, offset);
    const { digest, mediaType, size } = layer.blob;
    const known = size === UNKNOWN_SIZE ? offset : size;
    order.onProgress({
      digest,
      mediaType,
      step,
      offset,
      size: known,
      reference: formatReference(order.reference),
      from: image.client.host,
    });
  };
}

/** Whether the store has exactly this already: then nothing is written, and no disk is waited for. */
async function isStored(wanted: NewImage, store: ImageStore): Promise<boolean> {
  const known = (await store.images()).find(({ id }) => id === wanted.id);
  if (known === undefined || known.layer !== wanted.layer || known.names[0] !== wanted.names[0]) return false;
  if (wanted.metadata !== '{}' && known.metadata !== wanted.metadata) return false;
  const isSame = ({ key, data, digest }: BigDataItem) => known.bigDataDigests.get(key) === (digest ?? sha256(data));
  if (!wanted.bigData.every(isSame)) return false;
  // A pull mends what a crash or somebody's hand took from an image.
  const intact = wanted.bigData.map(async ({ key, data }) => (await store.imageBigData(known.id, key)).equals(data));
  return (await Promise.all(intact.map((same) => same.catch(() => false)))).every(Boolean);
}

/** Ids bottom-up, as the store computes them from the config's diff IDs (docs/reference/cri-o-ondisk.md §1.7). */
function chainOf(
  manifest: ImageManifest,
  diffIds: readonly Digest[],
  keys: ReadonlyMap<Descriptor, LayerKey>,
  store: ImageStore,
): readonly ChainLayer[] {
  const chain: ChainLayer[] = [];
  for (const [index, blob] of manifest.layers.entries()) {
    const diffId = diffIds[index];
    if (diffId === undefined) continue; // checkImage has compared both lengths.
    const parent = chain.at(-1)?.id;
    chain.push({ id: store.layerId(parent, diffId), parent, diffId, blob, key: keys.get(blob) });
  }
  return chain;
}

async function missingBytes(chain: readonly ChainLayer[], store: ImageStore): Promise<number> {
  const known = await Promise.all(chain.map((layer) => isThere(layer, store)));
  return chain.reduce((sum, layer, index) => sum + (known[index] === true ? 0 : layer.blob.size), 0);
}

/** The record and its data in the order of docs/reference/cri-o-ondisk.md §1.3 [I50]. */
function recordOf(
  image: ResolvedImage,
  { id, top, config, configDigest }: FilledImage,
  signatures: readonly Signature[],
  reference: ImageReference,
): NewImage {
  const { index, manifestBytes, manifestDigest } = image;
  const bigData: BigDataItem[] = [{ key: configDigest, data: config }];
  if (index !== undefined) bigData.push({ key: `manifest-${index.digest}`, data: index.bytes, digest: index.digest });
  bigData.push({ key: `manifest-${manifestDigest}`, data: manifestBytes, digest: manifestDigest });
  bigData.push({ key: 'manifest', data: manifestBytes, digest: manifestDigest });
  const blobs = signatures.map(encodeSignature);
  const sizes = blobs.map((blob) => blob.length);
  if (blobs.length > 0)
    for (const key of ['signatures', `signature-${hexOf(manifestDigest)}`]) bigData.push({ key, data: Buffer.concat(blobs) });
  return {
    id,
    names: [formatReference(reference)],
    layer: top,
    digest: index?.digest ?? manifestDigest,
    created: image.config.created ?? new Date(),
    metadata: blobs.length === 0 ? '{}' : JSON.stringify({ 'signature-sizes': sizes, 'signatures-sizes': { [manifestDigest]: sizes } }),
    bigData,
  };
}

function tell(order: PullOrder, image: ResolvedImage, step: 'resolved' | 'recorded'): void {
  const size = image.manifestBytes.length;
  const { mediaType } = image.manifest;
  order.onProgress({
    digest: image.manifestDigest,
    mediaType,
    step,
    offset: size,
    size,
    reference: formatReference(order.reference),
    from: image.client.host,
  });
}
