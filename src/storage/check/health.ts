import { dirname } from 'node:path';
import type { Logger } from '../../log/index.ts';
import type { HexId } from '../../ids/index.ts';
import { chainOf } from '../chains.ts';
import type { Grave } from '../graves.ts';
import type { Ledger } from '../ledger.ts';
import type { Places } from '../places.ts';
import type { LayerRecord } from '../types.ts';
import type { Unsynced } from '../unsynced.ts';
import { type Snapshot, check } from './check.ts';
import { type CheckOptions, type Finding, describe } from './findings.ts';
import { type RepairOptions, removeDamaged } from './repair.ts';

export interface HealthParts {
  readonly ledger: Ledger;
  readonly places: Places;
  readonly unsynced: Unsynced;
  readonly removeAll: (graves: readonly Grave[]) => Promise<void>;
  readonly log: Logger;
}

/** What is damaged in a store, and its way out. */
export class Health {
  /** Told of an image that cannot be used because layers of it are damaged, whenever somebody tries. */
  onDamaged: (image: HexId) => void = () => {};
  readonly #parts: HealthParts;
  #lost: readonly string[] = [];

  constructor(parts: HealthParts) {
    this.#parts = parts;
  }

  /** Looks for damage, while others may work in the store [J53, J55]. */
  async check(options: CheckOptions): Promise<readonly Finding[]> {
    const before = await this.#snapshot();
    const findings = await check(before, options);
    return findings.length === 0 ? findings : stillThere(findings, await this.#snapshot());
  }

  /** Removes what is damaged, and nothing else. Answers what is still damaged, and the names of images that went [J59, A209]. */
  async repair(
    findings: readonly Finding[],
    options: RepairOptions,
  ): Promise<{ readonly remaining: readonly Finding[]; readonly images: readonly string[] }> {
    const { ledger, places, removeAll } = this.#parts;
    const { graves, images } = await ledger.change('remove', (records) => removeDamaged(records, places, findings, options));
    await removeAll(graves);
    return { remaining: stillThere(findings, await this.#snapshot()), images };
  }

  /** Looks whether an image's layers can be mounted: something that was to be made of it failed. */
  async suspect(image: HexId): Promise<void> {
    const { ledger, places, log } = this.#parts;
    const problems = await ledger.read('layers', ({ images, layers }) =>
      [...chainOf(images.get(image)?.layer, (id) => layers.get(id))].flatMap((layer) => {
        const damage = places.driver.damage(layer);
        return damage === undefined ? [] : [`layer ${layer.id}: ${damage}`];
      }),
    );
    for (const problem of problems) log.warn(`Damaged: ${problem}`);
    if (problems.length > 0) this.onDamaged(image);
  }

  /** After a power cut: the layers that were committed last are compared with their digests, and only they [p27]. */
  async mendUnsynced(): Promise<void> {
    const { unsynced, log } = this.#parts;
    const suspects = await unsynced.load();
    if (suspects.length === 0) return;
    log.info(`The machine went down while ${suspects.length} layers were being written: checking them`);
    const found = await this.check({ digests: true, contents: true, maxOrphanAgeS: undefined, only: new Set(suspects) });
    const findings = found.filter(({ mayComeBack }) => !mayComeBack);
    for (const finding of findings) log.warn(`Damaged: ${describe(finding)}`);
    if (findings.length > 0) this.#lost = (await this.repair(findings, { removeContainers: true })).images;
    await unsynced.forget();
  }

  /** Names of images that a power cut cost: their layers had not reached the disk. */
  get lostImages(): readonly string[] {
    return this.#lost;
  }

  async #snapshot(): Promise<Snapshot> {
    const { graphRoot, additional, driver } = this.#parts.places;
    const hasAdditional = additional.length > 0;
    return await this.#parts.ledger.change('make', ({ layers, images, containers }) => {
      const inRoot = (record: LayerRecord) => ({
        root: dirname(driver.homes.homeOf(record.id)),
        record,
        isForeign: layers.own(record.id) === undefined,
      });
      const byId = new Map([...layers.everywhere()].map((record) => [record.id, inRoot(record)] as const));
      return { result: { graphRoot, hasAdditional, layers: byId, images: [...images.ownValues()], containers: [...containers.values()] } };
    });
  }
}

/** What others removed meanwhile is damaged no more. */
function stillThere(findings: readonly Finding[], { layers, images, containers }: Snapshot): readonly Finding[] {
  const known = {
    layer: new Set(layers.keys()),
    image: new Set(images.map(({ record }) => record.id)),
    container: new Set(containers.map(({ id }) => id)),
  };
  return findings.filter(({ kind, id }) => known[kind].has(id));
}
