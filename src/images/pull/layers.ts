import { type FailureKind, Failure, codeOf, kindOf, textOf, wrap } from '../../errors/index.ts';
import type { Digest, HexId } from '../../ids/index.ts';
import type { Logger } from '../../log/index.ts';
import { type StagedLayer, type UnpackedLayer, mayReuse } from '../../storage/index.ts';
import type { ImageStore, Unpacker } from '../store.ts';
import { Flights } from '../../sync/index.ts';
import type { LayerKey } from '../decryption/index.ts';
import type { PullProgress } from '../image.ts';
import type { Descriptor } from '../manifest.ts';
import { type RegistryClient, blobStream } from '../registry/index.ts';
import { isForeign } from './check-image.ts';
import { spaceOf, unpackLimits } from './limits.ts';
import { type PartsOrder, unpackInParts } from './parts.ts';
import { type Slot, Slots } from './slots.ts';
import { together } from './together.ts';

/** One layer of an image, by the id that it has in the store (docs/reference/cri-o-ondisk.md §1.7). */
export interface ChainLayer {
  readonly id: HexId;
  readonly parent: HexId | undefined;
  readonly diffId: Digest;
  readonly blob: Descriptor;
  /** Of an encrypted blob. */
  readonly key?: LayerKey | undefined;
}

/** What one pull brings along for its layers; one object a pull. */
export interface LayerOrder {
  readonly client: RegistryClient;
  readonly log: Logger;
  /** Bytes that this pull has to fetch in all: small ones go first. */
  readonly weight: number;
  /** Layers that allow it are fetched in parts; undefined: all as a whole [J39]. */
  readonly parts: { readonly hardLinks: boolean } | undefined;
}

export type LayerStep = Extract<PullProgress['step'], 'downloading' | 'downloaded' | 'committed' | 'reused'>;
export type LayerListener = (layer: ChainLayer, step: LayerStep, offset: number) => void;

export interface LayerFetcherOptions {
  readonly store: ImageStore;
  readonly unpacker: Unpacker;
  /** Layers under way at once, over all pulls but for those that come slowly [I41]. */
  readonly maxDownloads: number;
}

/**
 * Brings layers into the store: fetched and unpacked side by side, committed bottom-up as soon as that is
 * possible, each once however many pulls want it [p18].
 */
export class LayerFetcher {
  readonly #store: ImageStore;
  readonly #unpacker: Unpacker;
  readonly #slots: Slots;
  readonly #flights = new Flights<string, void>();
  readonly #listeners = new Map<HexId, Set<LayerListener>>();

  constructor(options: LayerFetcherOptions) {
    this.#store = options.store;
    this.#unpacker = options.unpacker;
    this.#slots = new Slots(options.maxDownloads);
  }

  /** Makes sure that all layers of a chain are in the store. Leaves nothing staged behind when it fails. */
  async ensure(chain: readonly ChainLayer[], order: LayerOrder, listener: LayerListener, signal: AbortSignal): Promise<void> {
    for (const layer of chain) this.#listen(layer.id, listener);
    try {
      await together((shared) => chain.map((_, index) => this.#ensureOne(chain, index, order, shared)), signal);
    } finally {
      for (const layer of chain) this.#unlisten(layer.id, listener);
    }
  }

  async #ensureOne(chain: readonly ChainLayer[], index: number, order: LayerOrder, signal: AbortSignal): Promise<void> {
    const layer = chain[index];
    if (layer === undefined) return;
    // What a layer unpacks to is what its image says: it is shared only where it comes from one registry, byte for byte, and
    // who cannot decrypt it must not have it from one who can [a47].
    const flight = [layer.id, layer.blob.digest, order.client.host, layer.key?.proof].join(' ');
    let isOwn = false;
    const make = async (shared: AbortSignal) => {
      isOwn = true;
      await this.#make(chain, index, layer, order, shared);
    };
    for (;;) {
      try {
        return await this.#flights.join(flight, make, signal);
      } catch (error) {
        // Another pull's credentials, repository or layers below may be what failed.
        if (isOwn || signal.aborted) throw error;
      }
    }
  }

  async #make(chain: readonly ChainLayer[], index: number, layer: ChainLayer, order: LayerOrder, signal: AbortSignal): Promise<void> {
    if (await isThere(layer, this.#store)) return this.#tell(layer, 'reused', layer.blob.size);
    await using stages = new AsyncDisposableStack();
    const stage = async () => stages.adopt(await this.#store.stageLayer(layer.parent), async (staged) => await staged.discard());
    // Joined here too, not only by the pull: this layer may outlive the pull that began it.
    const [{ staged, content }] = await together(
      (shared) => [this.#unpack(layer, stage, order, shared), this.#ensureOne(chain, index - 1, order, shared)] as const,
      signal,
    );
    const came = content.blobDigest === undefined ? content.blobSize : layer.blob.size;
    this.#tell(layer, 'downloaded', came);
    await orLayerGone(staged.commit({ ...content, id: layer.id, parent: layer.parent, ...(layer.key && { proof: layer.key.proof }) }));
    this.#tell(layer, 'committed', came);
  }

  /** In parts if that is wanted and possible, else as a whole. */
  async #unpack(layer: ChainLayer, stage: () => Promise<StagedLayer>, order: LayerOrder, signal: AbortSignal): Promise<FilledStage> {
    const onProgress = (offset: number) => this.#tell(layer, 'downloading', offset);
    const staged = await stage();
    if (order.parts === undefined) return { staged, content: await this.unpackBlob(layer, staged, order, signal, onProgress) };
    try {
      return {
        staged,
        content: await this.#unpackInParts(layer, staged, { ...order.parts, client: order.client, onProgress }, order, signal),
      };
    } catch (error) {
      signal.throwIfAborted();
      // Who is silent for a part is so for the whole.
      if (codeOf(error) === 'STALLED') throw unpackFailure(layer, error);
      order.log.info(`Layer ${layer.blob.digest} is fetched as a whole: ${textOf(error)}`);
      await staged.discard();
    }
    const fresh = await stage();
    return { staged: fresh, content: await this.unpackBlob(layer, fresh, order, signal, onProgress) };
  }

  async #unpackInParts(
    layer: ChainLayer,
    staged: StagedLayer,
    parts: Omit<PartsOrder, 'slot'>,
    order: LayerOrder,
    signal: AbortSignal,
  ): Promise<UnpackedLayer> {
    const { blob } = layer;
    const work = async (slot: Slot) =>
      await unpackInParts(layer, staged, { ...parts, slot }, { store: this.#store, unpacker: this.#unpacker }, signal);
    const { content, survey } = await this.#slots.run(order, work, signal);
    const { files, found } = survey;
    order.log.info(`Layer ${blob.digest}: ${content.blobSize} of ${blob.size} bytes fetched, ${found} of ${files} files were in the store`);
    return content;
  }

  /** Fetches a layer's blob and unpacks it where it is staged; in its turn among all. Its diff ID is verified if it is known. */
  async unpackBlob(
    layer: Pick<ChainLayer, 'blob' | 'key'> & { readonly diffId: Digest | undefined },
    staged: StagedLayer,
    order: LayerOrder,
    signal: AbortSignal,
    onProgress: (offset: number) => void,
  ): Promise<UnpackedLayer> {
    const { blob } = layer;
    const unpack = async (slot: Slot) => {
      onProgress(0);
      return await this.#unpacker.unpack(slot.watch(blobStream(order.client, blob, signal)), {
        diffDir: staged.diffDir,
        tarSplitPath: staged.tarSplitPath,
        blobDigest: blob.digest,
        diffId: layer.diffId,
        ...(layer.key && { decryption: layer.key.decryption }),
        limits: unpackLimits(await spaceOf(staged.diffDir), blob.size),
        signal,
        onProgress,
      });
    };
    try {
      return await this.#slots.run(order, unpack, signal);
    } catch (error) {
      throw unpackFailure(layer, error);
    }
  }

  #tell(layer: ChainLayer, step: LayerStep, offset: number): void {
    for (const listener of this.#listeners.get(layer.id) ?? []) listener(layer, step, offset);
  }

  #listen(id: HexId, listener: LayerListener): void {
    const known = this.#listeners.get(id);
    if (known === undefined) this.#listeners.set(id, new Set([listener]));
    else known.add(listener);
  }

  #unlisten(id: HexId, listener: LayerListener): void {
    const known = this.#listeners.get(id);
    known?.delete(listener);
    if (known?.size === 0) this.#listeners.delete(id);
  }
}

interface FilledStage {
  readonly staged: StagedLayer;
  readonly content: UnpackedLayer;
}

/** Whether a layer need not be fetched. */
export async function isThere({ id, blob, key }: ChainLayer, store: ImageStore): Promise<boolean> {
  const record = await store.layer(id);
  return record !== undefined && mayReuse(record, { digest: blob.digest, proof: key?.proof });
}

/** Code of the failure that says: a layer that was there is not there any more. */
export const LAYER_GONE = 'LAYER_GONE';

/** The store's NotFound for a parent or top layer, told apart from a registry's. */
export async function orLayerGone<T>(storing: Promise<T>): Promise<T> {
  try {
    return await storing;
  } catch (error) {
    if (kindOf(error) !== 'NotFound') throw error;
    throw new Failure('NotFound', textOf(error), { cause: error, code: LAYER_GONE });
  }
}

/** The reference's words for content that is not what the manifest promised [I48]. */
function unpackFailure(layer: { readonly blob: Descriptor; readonly diffId: Digest | undefined }, error: unknown): Failure {
  const kind: FailureKind = kindOf(error);
  if (kind === 'NotFound' && isForeign(layer.blob.mediaType)) {
    const message = `layer ${layer.blob.digest} is a foreign layer (${layer.blob.mediaType}) that the registry does not have: ${textOf(error)}`;
    const advice = 'Push the image anew with its foreign layers (docker: allow-nondistributable-artifacts).';
    return new Failure(kind, message, { cause: error, code: 'BLOB_UNKNOWN', advice });
  }
  if (codeOf(error) === 'BLOB_DIGEST_MISMATCH') {
    return new Failure(kind, `writing blob: storing blob to file: blob digest mismatch: ${textOf(error)}`, {
      cause: error,
      code: 'DIGEST_INVALID',
    });
  }
  if (codeOf(error) === 'DIFF_ID_MISMATCH') {
    const message = `layer (blob ${layer.blob.digest}) does not match config's DiffID "${layer.diffId}": ${textOf(error)}`;
    return new Failure(kind, message, { cause: error, code: 'DIFF_ID_MISMATCH' });
  }
  return wrap('writing blob', error);
}
