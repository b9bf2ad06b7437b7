import { codeOf, kindOf, textOf } from '../errors/index.ts';
import type { Digest, HexId } from '../ids/index.ts';
import type { Logger } from '../log/index.ts';
import type { ImageRecord } from '../storage/index.ts';
import type { Image, OciImageConfig } from './image.ts';
import { parseImageConfig, parseImageUser } from './image-config.ts';
import { parseManifest } from './manifest.ts';
import { isPinned, shownNames } from './names.ts';
import { configOfSchema1 } from './schema1.ts';
import type { ImageStore } from './store.ts';

/** What an image's documents and layers say; does not change while its manifest stays [I69]. */
interface Contents {
  readonly manifestDigest: Digest | undefined;
  readonly config: OciImageConfig;
  readonly rawConfig: string;
  readonly annotations: ReadonlyMap<string, string>;
  readonly layerBytes: bigint | undefined;
}

/** Turns the store's records into images as CRI shows them; documents are read once an image. */
export class Catalogue {
  readonly #store: ImageStore;
  readonly #log: Logger;
  readonly #contents = new Map<HexId, Contents>();

  constructor(store: ImageStore, log: Logger) {
    this.#store = store;
    this.#log = log;
  }

  /** All images in the store's order; one whose files vanish meanwhile is left out [I64]. */
  async list(records: readonly ImageRecord[], pinned: readonly string[]): Promise<readonly Image[]> {
    const known = new Set(records.map(({ id }) => id));
    for (const id of this.#contents.keys()) if (!known.has(id)) this.#contents.delete(id);
    const images = await Promise.all(records.map((record) => this.image(record, pinned)));
    return images.filter((image) => image !== undefined);
  }

  /** undefined when its files are gone. */
  async image(record: ImageRecord, pinned: readonly string[]): Promise<Image | undefined> {
    const contents = await this.#read(record);
    if (contents === undefined) return undefined;
    const { config, rawConfig, annotations, layerBytes } = contents;
    const bigData = record.bigDataNames.reduce((sum, name) => sum + (record.bigDataSizes.get(name) ?? 0n), 0n);
    return {
      id: record.id,
      names: record.names,
      previousNames: record.namesHistory,
      ...shownNames(record),
      size: layerBytes === undefined ? 0n : layerBytes + bigData,
      user: parseImageUser(config.user),
      pinned: isPinned(record.names, pinned),
      created: record.created,
      config,
      rawConfig,
      annotations,
      manifestDigest: record.digest ?? contents.manifestDigest,
      topLayer: record.layer,
      os: config.os,
      architecture: config.architecture,
    };
  }

  async #read(record: ImageRecord): Promise<Contents | undefined> {
    const manifestDigest = record.bigDataDigests.get('manifest');
    const known = this.#contents.get(record.id);
    if (known !== undefined && known.manifestDigest === manifestDigest) return known;
    try {
      const [{ config, raw }, annotations, layerBytes] = await Promise.all([
        this.#config(record),
        this.#annotations(record),
        this.#layerBytes(record),
      ]);
      const contents = { manifestDigest, config, rawConfig: raw, annotations, layerBytes };
      this.#contents.set(record.id, contents);
      return contents;
    } catch (error) {
      if (codeOf(error) === 'ENOENT' || kindOf(error) === 'NotFound') return undefined;
      throw error;
    }
  }

  async #config(record: ImageRecord): Promise<{ config: OciImageConfig; raw: string }> {
    const digests = record.bigDataNames.filter((name) => /^sha(256|384|512):/.test(name));
    const key = digests.find((name) => name.endsWith(`:${record.id}`)) ?? digests[0];
    const bytes = key === undefined ? await this.#madeConfig(record) : await this.#store.imageBigData(record.id, key);
    try {
      return { config: parseImageConfig(bytes), raw: bytes.toString('utf8') };
    } catch (error) {
      // One odd image of another tool must not hide all others from the kubelet's garbage collection.
      this.#log.warn(`Image ${record.id} has a config that cannot be read: ${textOf(error)}`);
      return { config: parseImageConfig(Buffer.from('{}')), raw: '{}' };
    }
  }

  /** Images of docker schema 1 that another tool pulled have no config of their own. */
  async #madeConfig(record: ImageRecord): Promise<Buffer> {
    if (!record.bigDataNames.includes('manifest')) return Buffer.from('{}');
    const manifest = parseManifest(await this.#store.imageBigData(record.id, 'manifest'), '');
    return manifest.kind === 'schema1' ? configOfSchema1(manifest, []) : Buffer.from('{}');
  }

  async #annotations(record: ImageRecord): Promise<ReadonlyMap<string, string>> {
    if (!record.bigDataNames.includes('manifest')) return new Map();
    const bytes = await this.#store.imageBigData(record.id, 'manifest');
    try {
      const manifest = parseManifest(bytes, '');
      return manifest.kind === 'image' ? manifest.annotations : new Map();
    } catch {
      return new Map(); // Formats that we do not pull, from other tools: they have no annotations.
    }
  }

  /** Uncompressed bytes of all layers; undefined when one does not know its size [I67]. */
  async #layerBytes(record: ImageRecord): Promise<bigint | undefined> {
    const chain = await this.#store.layerChain(record.layer);
    // With one that is not known below the last, or above the first.
    if (record.layer !== undefined && (chain.length === 0 || chain.at(-1)?.parent !== undefined)) return undefined;
    let sum = 0n;
    for (const { diffDigest, diffSize } of chain) {
      if (diffDigest === undefined || diffSize < 0n) return undefined;
      sum += diffSize;
    }
    return sum;
  }
}
