import type { HexId } from '../../ids/index.ts';
import type { ContainerRecord } from '../types.ts';
import type { RecordFile } from './domain.ts';

/** The containers of containers.json (podman's) and volatile-containers.json (CRI-O's and ours) as one set (§1.4). */
export class ContainerSet {
  readonly #durable: RecordFile<ContainerRecord>;
  readonly #volatile: RecordFile<ContainerRecord>;

  constructor(durable: RecordFile<ContainerRecord>, volatile: RecordFile<ContainerRecord>) {
    this.#durable = durable;
    this.#volatile = volatile;
  }

  get(id: HexId): ContainerRecord | undefined {
    return this.#durable.records.get(id) ?? this.#volatile.records.get(id);
  }

  *values(): Generator<ContainerRecord> {
    yield* this.#durable.records.values();
    for (const record of this.#volatile.records.values()) if (this.#durable.records.get(record.id) === undefined) yield record;
  }

  byName(name: string): ContainerRecord | undefined {
    return this.values().find((record) => record.names.includes(name));
  }

  /** A new record; ours are always volatile [J13]. */
  add(record: ContainerRecord): void {
    this.#volatile.records.set(record);
  }

  /** Replaces a record in the file that it is in. */
  replace(record: ContainerRecord): void {
    const file = this.#durable.records.get(record.id) === undefined ? this.#volatile : this.#durable;
    file.records.set(record);
  }

  delete(id: HexId): void {
    this.#durable.records.delete(id);
    this.#volatile.records.delete(id);
  }
}
