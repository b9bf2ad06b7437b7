import { existsSync, mkdirSync, readdirSync, renameSync } from 'node:fs';
import { mkdir, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fromRfc3339, nowNs, toRfc3339 } from '../clock/index.ts';
import { Failure, codeOf } from '../errors/index.ts';
import { type Digest, type HexId, sha256 } from '../ids/index.ts';
import { chainOf } from './chains.ts';
import { type Grave, buryLayer, moved } from './graves.ts';
import type { Change, Records } from './ledger.ts';
import { bigDataFileName } from './names.ts';
import { type Places, stagingOf } from './places.ts';
import type { ImageRecord, NewImage } from './types.ts';

export function imageDirectory(graphRoot: string, id: HexId): string {
  return join(graphRoot, 'overlay-images', id);
}

/** Writes an image's data items into a fresh directory, flushed, under their names of §1.5. */
export async function writeBigData(directory: string, items: NewImage['bigData']): Promise<void> {
  await mkdir(directory, { mode: 0o700 });
  const writeItem = async ({ key, data }: NewImage['bigData'][number]) => {
    await using file = await open(join(directory, bigDataFileName(key)), 'wx', 0o600);
    await file.writeFile(data);
    await file.datasync();
  };
  await Promise.all(items.map(writeItem));
}

/** A data item of an image that lies below `root`; NotFound where there is none. */
export async function readBigData(root: string, id: HexId, key: string): Promise<Buffer> {
  try {
    return await readFile(join(imageDirectory(root, id), bigDataFileName(key)));
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
    throw new Failure('NotFound', `reading data item "${key}" of image "${id}": file does not exist`, { cause: error, code: 'ENOENT' });
  }
}

/**
 * Adds an image whose data lies in `staged`, or renews the one with the same id: its data items are rewritten, the
 * new names go before the old ones (docs/reference/cri-o-ondisk.md §1.3). An image with that id and another top layer is AlreadyExists.
 */
export function createImage(records: Records, imageRoot: string, image: NewImage, staged: string): Change<ImageRecord> {
  const existing = records.images.changeable(image.id);
  if (existing !== undefined && existing.layer !== image.layer)
    throw new Failure('AlreadyExists', `creating image "${image.id}": that ID is already in use`);
  if (image.layer !== undefined && records.layers.get(image.layer) === undefined)
    throw new Failure('NotFound', `top layer ${image.layer} of image ${image.id} is not known: layer not known`);
  const directory = imageDirectory(imageRoot, image.id);
  if (existsSync(directory)) for (const name of readdirSync(staged)) renameSync(join(staged, name), join(directory, name));
  else {
    mkdirSync(join(imageRoot, 'overlay-images'), { recursive: true, mode: 0o700 });
    renameSync(staged, directory);
  }
  // Signatures that the image came with before stay known when it comes without.
  const renewed = existing === undefined || image.metadata === '{}' ? existing : { ...existing, metadata: image.metadata };
  const record = withNames(withBigData(renewed ?? emptyImage(image), image.bigData), [...image.names, ...(existing?.names ?? [])]);
  takeNames(records, image.id, record.names);
  records.images.set(record);
  // A new image's directory goes back; a renewed one's files have the same digests as before, or belong to nobody.
  return { result: record, ...(existing === undefined ? { undo: () => renameSync(directory, staged) } : {}) };
}

/** Gives an image exactly these names; another image that holds one of them loses it. */
export function setImageNames(records: Records, id: HexId, names: readonly string[]): Change<void> {
  const existing = records.images.changeable(id);
  if (existing === undefined) throw unknownImage(id);
  takeNames(records, id, names);
  records.images.set(withNames(existing, names));
  return { result: undefined };
}

/**
 * Removes an image and the layers that nobody else needs, top first (§1.7). Refused while a container uses it, or it is mounted.
 * The answer is what is left to delete.
 */
export function deleteImage(records: Records, places: Places, id: HexId): Change<Grave[]> {
  const image = records.images.own(id);
  if (image === undefined) throw records.images.get(id) === undefined ? unknownImage(id) : foreignImage(id);
  const user = records.containers.values().find((container) => container.image === id);
  if (user !== undefined)
    throw new Failure('FailedPrecondition', `image used by ${user.id}: image is in use by a container`, {
      code: 'IMAGE_IN_USE',
      advice: 'Remove the container first.',
    });
  const layers = unneededLayers(records, image);
  const mounted = layers.find((layer) => places.driver.isMounted(layer));
  if (mounted !== undefined)
    throw new Failure('FailedPrecondition', `image ${id} is mounted: layer ${mounted} is in use`, {
      code: 'IMAGE_IN_USE',
      advice: 'A container that is being made has it as a volume, or another tool mounted it (podman image unmount).',
    });
  const roots = records.images.delete(id);
  for (const layer of layers) {
    records.mounts.delete(layer);
    records.layers.delete(layer);
  }
  const graves: Grave[] = [];
  const bury = (path: string, grave: string, large: boolean) => {
    if (moved(path, grave)) graves.push({ path: grave, large });
  };
  const afterwards = () => {
    for (const layer of layers) graves.push(...buryLayer(layer, places));
    for (const root of roots) bury(imageDirectory(root, id), stagingOf(places, root).records.grave(id), false);
  };
  return { result: graves, afterwards };
}

/** The image's layers from the top down to the first that is used elsewhere; copies of the top layer first. */
function unneededLayers(records: Records, image: ImageRecord): HexId[] {
  const used = new Set<HexId>();
  for (const { record: other } of records.images.ownValues())
    if (other.id !== image.id) for (const layer of [other.layer, ...other.mappedLayers]) if (layer !== undefined) used.add(layer);
  for (const container of records.containers.values()) used.add(container.layer);
  const children = new Map<HexId, number>();
  for (const { parent } of records.layers.values()) if (parent !== undefined) children.set(parent, (children.get(parent) ?? 0) + 1);
  const unneeded: HexId[] = [];
  const remove = (layer: HexId): HexId | undefined => {
    const record = records.layers.own(layer);
    if (record === undefined || used.has(layer) || (children.get(layer) ?? 0) > 0) return undefined;
    unneeded.push(layer);
    if (record.parent !== undefined) children.set(record.parent, (children.get(record.parent) ?? 1) - 1);
    return record.parent;
  };
  for (const mapped of image.mappedLayers) remove(mapped);
  for (let layer = image.layer; layer !== undefined; layer = remove(layer));
  return unneeded;
}

/** The layer of an image that can be mounted as it is. */
export function topLayer(records: Records, id: HexId): HexId {
  const image = records.images.get(id);
  if (image === undefined) throw unknownImage(id);
  if (image.layer === undefined || records.layers.get(image.layer) === undefined)
    throw new Failure('FailedPrecondition', `image ${id} has no layer that can be mounted`);
  return image.layer;
}

/** Bytes as CRI-O reports them: the uncompressed layers and the data items. A layer that is not known counts nothing. */
export function imageSize(records: Records, image: ImageRecord): bigint {
  let size = 0n;
  for (const bytes of image.bigDataSizes.values()) size += bytes;
  for (const { diffSize } of chainOf(image.layer, (id) => records.layers.get(id))) if (diffSize > 0n) size += diffSize;
  return size;
}

/** The digests an image can be found by: its own and those of its manifests. */
export function digestsOf(image: ImageRecord): Digest[] {
  const manifests = [...image.bigDataDigests].filter(([key]) => key.startsWith('manifest')).map(([, digest]) => digest);
  return [...new Set(image.digest === undefined ? manifests : [image.digest, ...manifests])];
}

/** To whoever removes an image it counts as not there [J37]. */
function foreignImage(id: HexId): Failure {
  return new Failure('NotFound', `image "${id}" lies in an additional image store, which is only read: image not known`, {
    code: FOREIGN_IMAGE,
  });
}

/** Code of the failure that says: an image cannot be removed, because it is another store's. */
export const FOREIGN_IMAGE = 'FOREIGN_IMAGE';

export function unknownImage(what: string): Failure {
  return new Failure('NotFound', `locating image "${what}": image not known`);
}

function emptyImage(image: NewImage): ImageRecord {
  return {
    id: image.id,
    digest: image.digest,
    names: [],
    namesHistory: [],
    layer: image.layer,
    mappedLayers: [],
    metadata: image.metadata,
    bigDataNames: [],
    bigDataSizes: new Map(),
    bigDataDigests: new Map(),
    created: creationTime(image.created),
    flags: new Map(),
  };
}

function creationTime(created: Date | string): string {
  const time = typeof created === 'string' ? fromRfc3339(created) : BigInt(created.getTime()) * 1_000_000n;
  return toRfc3339(time ?? nowNs());
}

function withBigData(record: ImageRecord, items: NewImage['bigData']): ImageRecord {
  const names = [...record.bigDataNames];
  const sizes = new Map(record.bigDataSizes);
  const digests = new Map(record.bigDataDigests);
  for (const { key, data, digest } of items) {
    if (!names.includes(key)) names.push(key);
    sizes.set(key, BigInt(data.length));
    digests.set(key, digest ?? sha256(data));
  }
  return { ...record, bigDataNames: names, bigDataSizes: sizes, bigDataDigests: digests };
}

function withNames(record: ImageRecord, names: readonly string[]): ImageRecord {
  const distinct = [...new Set(names)];
  const added = distinct.filter((name) => !record.names.includes(name));
  return { ...record, names: distinct, namesHistory: [...new Set([...added, ...record.namesHistory])] };
}

function takeNames(records: Records, owner: HexId, names: readonly string[]): void {
  // What another root's images are called is not ours to change: the index finds the names where they come first.
  const mine = records.images.values().filter((image) => records.images.changeable(image.id) === image);
  const losers = mine.filter((image) => image.id !== owner && image.names.some((name) => names.includes(name)));
  for (const other of losers.toArray()) {
    records.images.set({ ...other, names: other.names.filter((name) => !names.includes(name)) });
  }
}
