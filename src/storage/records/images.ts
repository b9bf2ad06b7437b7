import type { HexId } from '../../ids/index.ts';
import type { ImageRecord } from '../types.ts';
import type { RootedFile } from './domain.ts';

/**
 * All images as one set; of several with one id the first file's counts. The first own file is where images are made; with an
 * image store the graph root's is the second. Those of additional image stores come last and are only read [J7, J37].
 */
export class ImageSet {
  readonly #own: readonly RootedFile<ImageRecord>[];
  readonly #all: readonly RootedFile<ImageRecord>[];

  constructor(own: readonly RootedFile<ImageRecord>[], foreign: readonly RootedFile<ImageRecord>[]) {
    this.#own = own;
    this.#all = [...own, ...foreign];
  }

  get(id: HexId): ImageRecord | undefined {
    return this.#holder(this.#all, id)?.file.records.get(id);
  }

  /** One that can be removed. */
  own(id: HexId): ImageRecord | undefined {
    return this.#holder(this.#own, id)?.file.records.get(id);
  }

  /** One that can be changed: it lies where images are made. */
  changeable(id: HexId): ImageRecord | undefined {
    return this.#own[0]?.file.records.get(id);
  }

  /** Each id once. */
  *values(): Generator<ImageRecord> {
    const seen = new Set<HexId>();
    for (const { file } of this.#all)
      for (const record of file.records.values()) {
        if (seen.has(record.id)) continue;
        seen.add(record.id);
        yield record;
      }
  }

  /** The own ones with the root that each lies below; one id may be there twice. */
  *ownValues(): Generator<{ readonly root: string; readonly record: ImageRecord }> {
    for (const { root, file } of this.#own) for (const record of file.records.values()) yield { root, record };
  }

  /** The root that an image lies below. */
  rootOf(id: HexId): string | undefined {
    return this.#holder(this.#all, id)?.root;
  }

  set(record: ImageRecord): void {
    this.#own[0]?.file.records.set(record);
  }

  /** Answers the roots that it lay below. */
  delete(id: HexId): string[] {
    const holders = this.#own.filter(({ file }) => file.records.get(id) !== undefined);
    for (const { file } of holders) file.records.delete(id);
    return holders.map(({ root }) => root);
  }

  #holder(files: readonly RootedFile<ImageRecord>[], id: HexId): RootedFile<ImageRecord> | undefined {
    return files.find(({ file }) => file.records.get(id) !== undefined);
  }
}
