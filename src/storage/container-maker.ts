import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type HexId, newHexId } from '../ids/index.ts';
import type { BlockingCalls } from '../linux/index.ts';
import type { Logger } from '../log/index.ts';
import { UndoStack } from '../sync/index.ts';
import { containerRoots, createContainer, idInUse } from './containers.ts';
import { noIdMaps } from './id-maps/container.ts';
import { readSubordinateIds } from './id-maps/ranges.ts';
import { unknownImage } from './images.ts';
import type { Ledger } from './ledger.ts';
import { LockFile } from './locks/lock-file.ts';
import type { Places } from './places.ts';
import type { ContainerRecord, NewContainer } from './types.ts';

export interface MakerParts {
  readonly ledger: Ledger;
  readonly places: Places;
  readonly calls: BlockingCalls;
  readonly log: Logger;
}

/** Makes containers: their layers and directories are built where nobody sees them, then recorded in one change. */
export class ContainerMaker {
  readonly #parts: MakerParts;
  readonly #creating = new Set<HexId>();
  readonly #usernsLock: LockFile;

  constructor(parts: MakerParts) {
    this.#parts = parts;
    this.#usernsLock = new LockFile(join(parts.places.graphRoot, 'userns.lock'), parts.calls);
  }

  close(): void {
    this.#usernsLock.close();
  }

  /** See Store.createContainer. */
  async create(wanted: NewContainer): Promise<ContainerRecord> {
    const id = wanted.id ?? newHexId();
    // What exists must not be touched by the undo of a second one with the same id.
    if (this.#creating.has(id) || (await this.#exists(id))) throw idInUse(id);
    this.#creating.add(id);
    try {
      return await this.#create(id, wanted);
    } finally {
      this.#creating.delete(id);
    }
  }

  async #exists(id: HexId): Promise<boolean> {
    return await this.#parts.ledger.read('containers', ({ containers }) => (containers.get(id) ?? containers.byName(id)) !== undefined);
  }

  async #create(id: HexId, wanted: NewContainer): Promise<ContainerRecord> {
    if (wanted.idMap === undefined) return await this.#build(id, wanted);
    const { driver } = this.#parts.places;
    if (!driver.mapsIds) throw noIdMaps(driver.home);
    // Nobody else chooses ids until these are in a record (docs/reference/cri-o-ondisk.md §2.2).
    using _ = await this.#usernsLock.acquire('exclusive');
    return await this.#build(id, wanted);
  }

  async #build(id: HexId, wanted: NewContainer): Promise<ContainerRecord> {
    const { ledger, places, log } = this.#parts;
    const { driver, staging } = places;
    const layer = newHexId();
    const subordinate = wanted.idMap !== undefined && 'auto' in wanted.idMap ? await readSubordinateIds() : undefined;
    const image = await ledger.read('images', ({ images }) => images.get(wanted.imageId));
    if (image === undefined) throw unknownImage(wanted.imageId);
    await ledger.read('layers', () => {}); // So that what the driver knows of the parent's directory is current.
    const path = staging.driver.addition();
    const undo = new UndoStack(log);
    try {
      undo.push('remove the built layer', () => staging.remove(path));
      const directories = containerRoots(places, id);
      undo.push('remove the directories', () => Promise.all(directories.map((directory) => staging.remove(directory))));
      const [built] = await Promise.all([
        driver.build(path, layer, image.layer, { home: driver.home }),
        ...directories.map((directory) => mkdir(join(directory, 'userdata'), { recursive: true, mode: 0o700 })),
      ]);
      undo.push('remove the link', () => driver.unlink(built));
      const made = { id, layer, path, built, wanted, subordinate };
      const record = await ledger.change('make', (records) => createContainer(records, places, made));
      undo.release();
      return record;
    } catch (error) {
      await undo.run();
      throw error;
    }
  }
}
