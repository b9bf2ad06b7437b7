import type { Digest, HexId } from '../ids/index.ts';
import { digestsOf } from './images.ts';
import type { Records } from './ledger.ts';
import type { ImageRecord } from './types.ts';

/** How images are found; made anew when the records changed. */
export class ImageIndex {
  #generation = -1;
  #all: readonly ImageRecord[] = [];
  #byId: ReadonlyMap<string, ImageRecord> = new Map<HexId, ImageRecord>();
  #byName: ReadonlyMap<string, ImageRecord> = new Map();
  #byDigest: ReadonlyMap<string, ImageRecord> = new Map<Digest, ImageRecord>();

  /** The index for records of that generation. */
  of(records: Records, generation: number): this {
    if (generation === this.#generation) return this;
    this.#generation = generation;
    this.#all = Object.freeze(withOwnNames(records.images.values()));
    this.#byId = new Map(this.#all.map((image) => [image.id, image]));
    this.#byName = new Map(this.#all.flatMap((image) => image.names.map((name) => [name, image] as const)));
    // Of several images with one manifest digest the first counts, hence the reverse order.
    this.#byDigest = new Map(this.#all.toReversed().flatMap((image) => digestsOf(image).map((digest) => [digest, image] as const)));
    return this;
  }

  get all(): readonly ImageRecord[] {
    return this.#all;
  }

  /** By id, name, digest, or an id prefix that only one image has. */
  find(what: string): ImageRecord | undefined {
    return this.#byId.get(what) ?? this.#byName.get(what) ?? this.#byDigest.get(what) ?? this.#byPrefix(what);
  }

  #byPrefix(prefix: string): ImageRecord | undefined {
    if (!/^[0-9a-f]{1,63}$/.test(prefix)) return undefined;
    const matches = this.#all.filter((image) => image.id.startsWith(prefix));
    return matches.length === 1 ? matches[0] : undefined;
  }
}

/** A name belongs to the first image that has it: those of additional stores come last. */
function withOwnNames(images: Iterable<ImageRecord>): ImageRecord[] {
  const taken = new Set<string>();
  return [...images].map((image) => {
    const names = image.names.filter((name) => !taken.has(name));
    for (const name of names) taken.add(name);
    return names.length === image.names.length ? image : Object.freeze({ ...image, names });
  });
}
