import type { HexId } from '../../ids/index.ts';
import type { LayerRecord } from '../types.ts';
import type { RecordFile } from './domain.ts';

/** The layers of layers.json and volatile-layers.json as one set; of two with one id the first file's counts (§1.2). */
export class LayerSet {
  readonly #durable: RecordFile<LayerRecord>;
  readonly #volatile: RecordFile<LayerRecord>;

  constructor(durable: RecordFile<LayerRecord>, volatile: RecordFile<LayerRecord>) {
    this.#durable = durable;
    this.#volatile = volatile;
  }

  get(id: HexId): LayerRecord | undefined {
    return this.#durable.records.get(id) ?? this.#volatile.records.get(id);
  }

  *values(): Generator<LayerRecord> {
    yield* this.#durable.records.values();
    for (const record of this.#volatile.records.values()) if (this.#durable.records.get(record.id) === undefined) yield record;
  }

  byName(name: string): LayerRecord | undefined {
    return this.values().find((record) => record.names.includes(name));
  }

  hasChildren(id: HexId): boolean {
    return this.values().some((record) => record.parent === id);
  }

  add(record: LayerRecord, where: 'durable' | 'volatile'): void {
    (where === 'durable' ? this.#durable : this.#volatile).records.set(record);
  }

  /** Replaces a record in the file that it is in. */
  replace(record: LayerRecord): void {
    this.add(record, this.#durable.records.get(record.id) === undefined ? 'volatile' : 'durable');
  }

  delete(id: HexId): void {
    this.#durable.records.delete(id);
    this.#volatile.records.delete(id);
  }

  /** Layers whose making or deletion somebody did not finish. Only seen under the exclusive lock they are debris [J42]. */
  incomplete(): LayerRecord[] {
    return [...this.values()].filter((record) => record.flags.get('incomplete') === true);
  }

  /** Containers' layers, those of the volatile file. */
  *volatileValues(): Generator<LayerRecord> {
    yield* this.#volatile.records.values();
  }
}
