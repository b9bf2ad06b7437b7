import type { HexId } from '../../ids/index.ts';
import type { LayerRecord } from '../types.ts';
import type { RootedFile } from './domain.ts';

export interface LayerFiles {
  /** layers.json: pulled layers, also those whose directories are below an image store [J7]. */
  readonly durable: RootedFile<LayerRecord>;
  /** volatile-layers.json: containers' layers. */
  readonly volatile: RootedFile<LayerRecord>;
  /** Those of additional image stores, in the order of search. */
  readonly foreign: readonly RootedFile<LayerRecord>[];
}

/**
 * All layers as one set; of several with one id the first file's counts (§1.2). Layers of additional image stores are found
 * by id, and no more: they are neither listed nor changed [J37].
 */
export class LayerSet {
  readonly #files: LayerFiles;
  readonly #own: readonly RootedFile<LayerRecord>[];

  constructor(files: LayerFiles) {
    this.#files = files;
    this.#own = [files.durable, files.volatile];
  }

  /** A layer, wherever it is. What another store has not finished is not there. */
  get(id: HexId): LayerRecord | undefined {
    return this.own(id) ?? this.#foreign(id);
  }

  own(id: HexId): LayerRecord | undefined {
    return this.#holder(id)?.file.records.get(id);
  }

  /** The own ones. */
  *values(): Generator<LayerRecord> {
    for (const [index, { file }] of this.#own.entries()) {
      const before = this.#own.slice(0, index);
      for (const record of file.records.values()) if (!before.some((other) => other.file.records.get(record.id))) yield record;
    }
  }

  /** All that `get` finds. */
  *everywhere(): Generator<LayerRecord> {
    yield* this.values();
    const seen = new Set<HexId>();
    for (const { file } of this.#files.foreign)
      for (const { id } of file.records.values()) {
        const record = seen.has(id) || this.own(id) !== undefined ? undefined : this.#foreign(id);
        seen.add(id);
        if (record !== undefined) yield record;
      }
  }

  byName(name: string): LayerRecord | undefined {
    return this.values().find((record) => record.names.includes(name));
  }

  hasChildren(id: HexId): boolean {
    return this.values().some((record) => record.parent === id);
  }

  /** A pulled layer is `durable`, a container's `volatile`. */
  add(record: LayerRecord, where: 'durable' | 'volatile'): void {
    (where === 'durable' ? this.#files.durable : this.#files.volatile).file.records.set(record);
  }

  /** Replaces a record in the file that it is in. */
  replace(record: LayerRecord): void {
    (this.#holder(record.id) ?? this.#files.volatile).file.records.set(record);
  }

  delete(id: HexId): void {
    for (const { file } of this.#own) file.records.delete(id);
  }

  /** Layers whose making or deletion somebody did not finish. Only seen under the exclusive lock they are debris [J42]. */
  incomplete(): LayerRecord[] {
    return [...this.values()].filter((record) => !isWhole(record));
  }

  /** Containers' layers, those of the volatile file. */
  *volatileValues(): Generator<LayerRecord> {
    yield* this.#files.volatile.file.records.values();
  }

  #holder(id: HexId): RootedFile<LayerRecord> | undefined {
    return this.#own.find(({ file }) => file.records.get(id) !== undefined);
  }

  #foreign(id: HexId): LayerRecord | undefined {
    for (const { file } of this.#files.foreign) {
      const record = file.records.get(id);
      if (isWhole(record)) return record;
    }
    return undefined;
  }
}

function isWhole(record: LayerRecord | undefined): record is LayerRecord {
  return record !== undefined && record.flags.get('incomplete') !== true;
}
