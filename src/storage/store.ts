import { join } from 'node:path';
import { Failure, wrap } from '../errors/index.ts';
import { type Digest, type HexId, isHexId } from '../ids/index.ts';
import { unmountIfMounted } from '../linux/index.ts';
import type { Outstanding } from '../sync/index.ts';
import type { LayerContents } from './archive/index.ts';
import type { ArtifactStore } from './artifacts/artifact-store.ts';
import { chainOf } from './chains.ts';
import type { Health } from './check/health.ts';
import { containerDirectory, containerRoots, deleteContainer, freeNames, mountOptionsOf, unknownContainer } from './containers.ts';
import { collectGarbage, collectOrphans } from './garbage.ts';
import { idMapOf, noIdMaps } from './id-maps/container.ts';
import { ImageIndex } from './image-index.ts';
import { isDecrypted, mayReuse } from './decrypted-layers.ts';
import { deleteImage, imageSize, readBigData, topLayer, unknownImage } from './images.ts';
import type { Ledger, Records } from './ledger.ts';
import { mountLayer, trimUsers, unmountBelow, unmountLayer } from './mounts.ts';
import { layerId } from './names.ts';
import { type StoreOptions, type StoreParts, partsOf } from './parts.ts';
import type { Places } from './places.ts';
import { prepareRoots } from './roots.ts';
import { stageLayer, tarSplitPath } from './staged-layer.ts';
import type { ContainerRecord, ImageRecord, LayerRecord, MountRequest, NewContainer, NewImage, StagedLayer } from './types.ts';

/**
 * containers/storage's overlay store, shared live with podman, skopeo and buildah [J9–J14, J60]. What it answers is
 * current at the time of the call, whoever wrote last. Every change is atomic: a process that dies leaves either
 * the old state, or debris that nobody sees and the next start removes.
 */
export class Store {
  readonly graphRoot: string;
  readonly runRoot: string;
  /** Where images and their layers are made: `imagestore`, else the graph root. */
  readonly imageRoot: string;
  /** `G/overlay`. */
  readonly driverHome: string;
  /** OCI artifacts, which lie beside the images. */
  readonly artifacts: ArtifactStore;
  /** Finds damage and removes it. */
  readonly health: Health;
  readonly #parts: StoreParts;
  readonly #ledger: Ledger;
  readonly #places: Places;
  readonly #index = new ImageIndex();

  private constructor(parts: StoreParts) {
    const { places, ledger, artifacts, health } = parts;
    this.graphRoot = places.graphRoot;
    this.runRoot = places.runRoot;
    this.imageRoot = places.imageRoot;
    this.driverHome = places.driver.home;
    this.artifacts = artifacts;
    this.health = health;
    this.#parts = parts;
    this.#ledger = ledger;
    this.#places = places;
  }

  /** Makes the store if there is none, mounts the driver home on itself and reads all records. */
  static async open(options: StoreOptions): Promise<Store> {
    const parts = partsOf(options, await prepareRoots(options));
    const store = new Store(parts);
    try {
      await parts.ledger.change('make', () => ({ result: undefined }));
      for (const staging of parts.stagings) await staging.recover();
      if (!parts.isDaemon) return store;
      for (const staging of parts.stagings) staging.prepare();
      await store.health.mendUnsynced();
      for (const reserve of parts.reserves) await reserve.refill();
      return store;
    } catch (error) {
      await store.close();
      throw wrap(`opening storage ${options.graphRoot}`, error);
    }
  }

  /** Waits for changes and removals under way. Mounts stay, the driver home's too. `sync`: everything is on disk then [J51]. */
  async close(options: { readonly sync?: boolean } = {}): Promise<void> {
    const { unsynced, containers, calls, stagings } = this.#parts;
    await unsynced.flush();
    this.artifacts.close();
    await this.#ledger.close();
    for (const staging of stagings) await staging.close();
    if (options.sync === true) await this.syncFileSystem();
    containers.close();
    await calls.close();
  }

  /** Whether containers can have id maps here [J32, J35]: what the kernel and the graph root's file system can do. */
  get mapsIds(): boolean {
    return this.#places.driver.mapsIds;
  }

  /** Finds what a crash left, for the start of the daemon [J44]; it leaves the disk in the background, see `settled`. */
  async collectGarbage(): Promise<void> {
    const { log, removeAll } = this.#parts;
    const { graves, kept } = await this.#ledger.change('remove', (records) => collectGarbage(records, this.#places));
    for (const layer of kept) log.warn(`No record names layer ${layer}, but mounted containers stand upon it: it is left as it is`);
    void removeAll(graves);
    await this.artifacts.collectGarbage();
  }

  /** Removes image layers that nobody has needed for so many seconds; settles when their space is free, and answers how many they were. */
  async collectOrphans(olderThanS: number): Promise<number> {
    const { graves, count } = await this.#ledger.change('remove', (records) => collectOrphans(records, this.#places, olderThanS));
    await this.#parts.removeAll(graves);
    return count;
  }

  /** Removes what processes that died while they made something left in their own directories. */
  async removeAbandoned(): Promise<void> {
    for (const staging of this.#parts.stagings) await staging.recover();
  }

  /** What should have left the disk and could not so far; it is tried again. */
  debris(): Outstanding[] {
    return this.#parts.stagings.flatMap((staging) => staging.debris());
  }

  /** Makes all contents durable (syncfs), off the main thread: before layers are committed. */
  syncFileSystem(): Promise<void> {
    return this.#parts.sync();
  }

  // Images

  /** The same array until an image changes. */
  async images(): Promise<readonly ImageRecord[]> {
    return await this.#ledger.read('images', (records) => this.#index.of(records, this.#ledger.imageGeneration).all);
  }

  /** By id, name, manifest digest, or unique id prefix. */
  async image(idOrPrefixOrNameOrDigest: string): Promise<ImageRecord | undefined> {
    const look = (records: Records) => this.#index.of(records, this.#ledger.imageGeneration).find(idOrPrefixOrNameOrDigest);
    return await this.#ledger.read('images', look);
  }

  /** Bytes of the uncompressed layers and data items, CRI's `size`. */
  async imageSize(id: HexId): Promise<bigint> {
    const image = await this.#knownImage(id);
    return await this.#ledger.read('layers', (records) => imageSize(records, image));
  }

  async imageBigData(id: HexId, key: string): Promise<Buffer> {
    const root = await this.#ledger.read('images', ({ images }) => images.rootOf(id));
    return await readBigData(root ?? this.imageRoot, id, key);
  }

  /**
   * Data items are on disk before the record says so; the image's layers must be committed. An image of another root gets a
   * record of its own here, with the names and data that it has there.
   */
  async createImage(image: NewImage): Promise<ImageRecord> {
    return await this.#parts.images.create(image);
  }

  /** Gives an image exactly these names. One of another root gets a record of its own here, and its names there stay unseen. */
  async setImageNames(id: HexId, names: readonly string[]): Promise<void> {
    await this.#parts.images.setNames(id, names);
  }

  /** The images that can be removed: not those of additional image stores. */
  async ownImages(): Promise<readonly ImageRecord[]> {
    return await this.#ledger.read('images', ({ images }) => [...images.values()].filter(({ id }) => images.own(id) !== undefined));
  }

  /** Refused while a container uses the image, or it is mounted; its layers go unless somebody else needs them. Settles when their space is free. */
  async deleteImage(id: HexId): Promise<void> {
    const graves = await this.#ledger.change('remove', (records) => deleteImage(records, this.#places, id));
    await this.#parts.removeAll(graves);
  }

  /** Mounts the image's top layer read-only, noexec, nosuid, nodev; counts its users. */
  async mountImage(id: HexId): Promise<string> {
    return await this.#ledger.change('make', (records) => {
      const layer = topLayer(records, id);
      const request = { options: ['ro', 'noexec', 'nosuid', 'nodev'], volatile: false, label: '' };
      return {
        result: mountLayer(records, this.#places.driver, layer, request),
        undo: () => unmountLayer(records, this.#places.driver, layer, false),
      };
    });
  }

  /**
   * Shows the image read-only with the ids of a user namespace at `target`, an empty directory: whoever has it unmounts it. Not counted:
   * call it while `mountImage` has the image mounted.
   */
  async mountImageMapped(id: HexId, target: string, userNamespace: string): Promise<void> {
    if (!this.mapsIds) throw noIdMaps(this.driverHome);
    await this.#ledger.change('make', (records) => {
      this.#places.driver.mountMapped(topLayer(records, id), target, userNamespace);
      return { result: undefined, undo: () => void unmountIfMounted(target) };
    });
  }

  /** Takes one user of the mount away, or all with `force`; an unknown image is nothing to do. */
  async unmountImage(id: HexId, force = false): Promise<void> {
    await this.#ledger.change('remove', (records) => {
      const layer = records.images.get(id)?.layer;
      if (layer !== undefined) unmountLayer(records, this.#places.driver, layer, force);
      return { result: undefined };
    });
  }

  /** After a crash: the mount of an image loses up to `most` users, but keeps `users`, those that are known. */
  async trimImageUsers(id: HexId, o: { readonly users: number; readonly most: number }): Promise<void> {
    await this.#ledger.change('remove', (records) => {
      const layer = records.images.get(id)?.layer;
      if (layer !== undefined) trimUsers(records, this.#places.driver, layer, o);
      return { result: undefined };
    });
  }

  // Layers

  /** The layer of that id, in whatever store; undefined too where its directory is damaged, so that a pull makes it anew (p28). */
  async layer(id: HexId): Promise<LayerRecord | undefined> {
    const { log, places } = this.#parts;
    return await this.#ledger.read('layers', ({ layers }) => {
      const layer = layers.get(id);
      const damage = layer === undefined ? undefined : places.driver.damage(layer);
      if (damage !== undefined) log.warn(`Damaged: layer ${id}: ${damage}`);
      return damage === undefined ? layer : undefined;
    });
  }

  /** A layer and all below it that are known, topmost first. */
  async layerChain(top: HexId | undefined): Promise<readonly LayerRecord[]> {
    return await this.#ledger.read('layers', ({ layers }) => [...chainOf(top, (id) => layers.get(id))]);
  }

  /** The own ones: not those of additional image stores. */
  async layers(): Promise<readonly LayerRecord[]> {
    return await this.#ledger.read('layers', ({ layers }) => [...layers.values()]);
  }

  /** The id of the layer that `diffId` makes on top of `parent` (docs/reference/cri-o-ondisk.md §1.7). */
  layerId(parent: HexId | undefined, diffId: Digest): HexId {
    return layerId(parent, diffId);
  }

  /** The diff ID of a blob that some layer was made from, under whatever parent; undefined where there is none. */
  async diffIdOf(blob: Digest): Promise<Digest | undefined> {
    const look = ({ layers }: Records) =>
      layers.everywhere().find((layer) => layer.compressedDiffDigest === blob && mayReuse(layer, { digest: blob }))?.diffDigest;
    return await this.#ledger.read('layers', look);
  }

  /**
   * Where layers that were unpacked have their files, the own ones first and of them the newest; not those that were decrypted, as
   * checksums alone must not open them either [a47]. Nothing keeps them there.
   */
  async layerContents(): Promise<readonly LayerContents[]> {
    return await this.#ledger.read('layers', ({ layers }) => {
      const contents = [...layers.everywhere()].flatMap((layer) => {
        if (layer.diffDigest === undefined || isDecrypted(layer)) return [];
        const diffDir = this.layerDiffDirectory(layer.id);
        const isForeign = layers.own(layer.id) === undefined;
        const root = isForeign ? join(diffDir, '../../..') : this.graphRoot;
        return [{ isForeign, diffDir, tarSplitPath: tarSplitPath(root, layer.id) }];
      });
      return contents.toReversed().toSorted((a, b) => Number(a.isForeign) - Number(b.isForeign));
    });
  }

  /** Layers of one image are staged and unpacked in parallel and committed bottom-up; the parent is named at the commit. */
  async stageLayer(_parent?: HexId): Promise<StagedLayer> {
    const { places, isDaemon, unsynced, sync } = this.#parts;
    return await stageLayer({ ...places, ledger: this.#ledger, unsynced: isDaemon ? unsynced : undefined, sync });
  }

  /** The directory with a layer's own contents. */
  layerDiffDirectory(id: HexId): string {
    return join(this.#places.driver.homes.directory(id), 'diff');
  }

  // Containers

  async containers(): Promise<readonly ContainerRecord[]> {
    return await this.#ledger.read('containers', ({ containers }) => [...containers.values()]);
  }

  async container(idOrName: string): Promise<ContainerRecord | undefined> {
    const byId = isHexId(idOrName) ? idOrName : undefined;
    const look = ({ containers }: Records) => (byId === undefined ? undefined : containers.get(byId)) ?? containers.byName(idOrName);
    return await this.#ledger.read('containers', look);
  }

  /** Volatile; with its layer, `containerDirectory` and `containerRunDirectory`. A name in use is AlreadyExists, code NAME_IN_USE. */
  async createContainer(wanted: NewContainer): Promise<ContainerRecord> {
    return await this.#lookingAfter(this.#parts.containers.create(wanted), () => wanted.imageId);
  }

  async setContainerMetadata(id: HexId, metadata: string): Promise<void> {
    await this.#ledger.change('make', ({ containers }) => {
      const container = containers.get(id);
      if (container === undefined) throw unknownContainer(id);
      containers.replace({ ...container, metadata });
      return { result: undefined };
    });
  }

  /** Mounts the container's root file system and answers where. Mounted already counts one more user. */
  async mountContainer(id: HexId, request: MountRequest = {}): Promise<string> {
    const mounting = this.#ledger.change('make', (records) => {
      const container = records.containers.get(id);
      if (container === undefined) throw unknownContainer(id);
      const layer = records.layers.get(container.layer);
      if (layer === undefined) throw new Failure('NotFound', `layer ${container.layer} of container ${id}: layer not known`);
      const path = mountLayer(records, this.#places.driver, layer.id, {
        options: mountOptionsOf(container),
        volatile: container.flags.get('Volatile') === true,
        label: request.label ?? layer.mountLabel,
        idMap: idMapOf(container, request),
      });
      return { result: path, undo: () => unmountLayer(records, this.#places.driver, layer.id, false) };
    });
    return await this.#lookingAfter(mounting, async () => (await this.container(id))?.image);
  }

  /** Where something of an image fails, the image is looked at. */
  async #lookingAfter<T>(work: Promise<T>, imageOf: () => HexId | undefined | Promise<HexId | undefined>): Promise<T> {
    const suspect = async () => {
      const image = await imageOf();
      if (image !== undefined) await this.health.suspect(image);
    };
    try {
      return await work;
    } catch (error) {
      await suspect().catch(() => {}); // The error that is there is the news.
      throw error;
    }
  }

  /** The container's names can be given to another at once, although it is still there (p02). */
  async freeContainerNames(id: HexId): Promise<void> {
    await this.#ledger.change('make', (records) => freeNames(records, id));
  }

  /** An unknown container or layer counts as unmounted [J20]. */
  async unmountContainer(id: HexId, force = false): Promise<void> {
    await this.#ledger.change('remove', (records) => {
      const container = records.containers.get(id);
      if (container === undefined) this.#parts.log.info(`Container ${id} not known, assuming it got already removed`);
      else unmountLayer(records, this.#places.driver, container.layer, force);
      return { result: undefined };
    });
  }

  /** Unmounts, and removes record, layer and both directories; an unknown container is done already [J21]. */
  async deleteContainer(id: HexId): Promise<void> {
    const directories = containerRoots(this.#places, id);
    await unmountBelow(directories);
    const layer = await this.#ledger.change('remove', (records) => deleteContainer(records, this.#places.driver, id));
    if (layer === undefined) return;
    for (const directory of directories) void this.#places.staging.remove(directory);
    void this.#places.staging.background(`remove layer ${layer}`, async () => {
      await this.#places.driver.remove(layer);
      for (const reserve of this.#parts.reserves) await reserve.refill();
    });
  }

  /** `G/overlay-containers/<id>/userdata`: survives reboots. */
  containerDirectory(id: HexId): string {
    return containerDirectory(this.graphRoot, id);
  }

  /** `R/overlay-containers/<id>/userdata`: the bundle. */
  containerRunDirectory(id: HexId): string {
    return containerDirectory(this.runRoot, id);
  }

  /** Waits until everything that was removed has left the disk. */
  async settled(): Promise<void> {
    for (const staging of this.#parts.stagings) await staging.settled();
  }

  async #knownImage(id: HexId): Promise<ImageRecord> {
    const image = await this.#ledger.read('images', ({ images }) => images.get(id));
    if (image === undefined) throw unknownImage(id);
    return image;
  }
}
