import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { nowNs, toRfc3339 } from '../clock/index.ts';
import { Failure } from '../errors/index.ts';
import type { HexId } from '../ids/index.ts';
import type { IdMap } from './archive/index.ts';
import { chainOf } from './chains.ts';
import type { Built, OverlayDriver } from './driver/overlay.ts';
import { idMapsFor } from './id-maps/container.ts';
import type { SubordinateIds } from './id-maps/ranges.ts';
import { unknownImage } from './images.ts';
import type { Change, Records } from './ledger.ts';
import { unmountLayer } from './mounts.ts';
import type { Places } from './places.ts';
import type { ContainerRecord, LayerRecord, NewContainer } from './types.ts';

/** `G/overlay-containers/<id>/userdata` [J22]. */
export function containerDirectory(graphRoot: string, id: HexId): string {
  return join(graphRoot, 'overlay-containers', id, 'userdata');
}

/** A container's directories below both roots. */
export function containerRoots({ graphRoot, runRoot }: Pick<Places, 'graphRoot' | 'runRoot'>, id: HexId): string[] {
  return [graphRoot, runRoot].map((root) => join(root, 'overlay-containers', id));
}

export function idInUse(id: HexId): Failure {
  return new Failure('AlreadyExists', `container "${id}": that ID is already in use`);
}

/** What has to be free, or there, before a container can be made; answers its layer's parent. */
function checkNewContainer({ layers, images, containers }: Records, id: HexId, wanted: NewContainer): HexId | undefined {
  const image = images.get(wanted.imageId);
  if (image === undefined) throw unknownImage(wanted.imageId);
  if (containers.get(id) !== undefined) throw idInUse(id);
  for (const name of wanted.names) {
    const holder = containers.byName(name);
    if (holder !== undefined)
      throw new Failure(
        'AlreadyExists',
        `the container name "${name}" is already in use by ${holder.id}. You have to remove that container to be able to reuse that name: that name is already in use`,
        { code: 'NAME_IN_USE' },
      );
  }
  if (layers.byName(wanted.layerName) !== undefined)
    throw new Failure('AlreadyExists', `layer name "${wanted.layerName}": that name is already in use`, { code: 'NAME_IN_USE' });
  if (image.layer !== undefined && layers.get(image.layer) === undefined)
    throw new Failure('NotFound', `top layer ${image.layer} of image ${image.id} is not known: layer not known`, {
      advice: `Remove image ${image.id} and pull it again.`,
    });
  return image.layer;
}

/** A layer whose `lower` file was lost or cut short would be mounted without those below, and nobody would be told. */
function checkLowers({ layers }: Records, parent: HexId | undefined, { lower }: Built): void {
  const chain = [...chainOf(parent, (id) => layers.get(id))];
  const named = lower?.split(':').length ?? 0;
  // Of one whose additional image store is away the mount tells.
  if (chain.length === named || chain.at(-1)?.parent !== undefined) return;
  const what = `it stands upon ${chain.length - 1} layers, and its lower file names ${named - 1}`;
  throw new Failure('FailedPrecondition', `layer ${parent} is damaged: ${what}`, {
    advice: 'Pull the image again, or look with crio check.',
  });
}

/** Puts a layer directory that was built in `built` in its place and records layer and container, both volatile [J13, J14]. */
export function createContainer(
  records: Records,
  places: Places,
  o: { id: HexId; layer: HexId; path: string; built: Built; wanted: NewContainer; subordinate: SubordinateIds | undefined },
): Change<ContainerRecord> {
  const { id, layer, path, built, wanted, subordinate } = o;
  const parent = checkNewContainer(records, id, wanted);
  const idMap = idMapsFor(records, wanted, subordinate);
  const { driver, staging } = places;
  driver.checkBelow(parent, built);
  checkLowers(records, parent, built);
  const directory = driver.publish(path, layer, built, () => staging.driver.grave(layer));
  const created = toRfc3339(nowNs());
  records.layers.add(containerLayer(layer, parent, created, wanted), 'volatile');
  const record = containerRecord(id, layer, created, wanted, idMap);
  records.containers.add(record);
  return { result: record, undo: () => renameSync(directory, path) };
}

/**
 * Removes the records of a container and its layer; the answer is the layer, whose directory and whose container's
 * directories are still to be removed: ids are random, so nobody waits for their names. Unknown is nothing to do [J21].
 */
export function deleteContainer(records: Records, driver: OverlayDriver, id: HexId): Change<HexId | undefined> {
  const container = records.containers.get(id);
  if (container === undefined) return { result: undefined };
  unmountLayer(records, driver, container.layer, true);
  records.containers.delete(id);
  records.layers.delete(container.layer);
  return { result: container.layer };
}

/** Gives the container and its layer names that nobody asks for, so that theirs are free; for one that cannot be removed yet. */
export function freeNames({ containers, layers }: Records, id: HexId): Change<void> {
  const container = containers.get(id);
  if (container === undefined) return { result: undefined };
  const name = `k8s_DEBRIS_${id}`;
  containers.replace({ ...container, names: [name] });
  const layer = layers.get(container.layer);
  if (layer !== undefined) layers.replace({ ...layer, names: [`${name}-layer`] });
  return { result: undefined };
}

function containerLayer(id: HexId, parent: HexId | undefined, created: string, wanted: NewContainer): LayerRecord {
  return {
    id,
    names: [wanted.layerName],
    parent,
    metadata: '',
    mountLabel: wanted.mountLabel ?? '',
    created,
    compressedDiffDigest: undefined,
    compressedSize: 0n,
    diffDigest: undefined,
    diffSize: 0n,
    tocDigest: undefined,
    compression: 0,
    uidset: [],
    gidset: [],
    flags: new Map(),
    uidmap: [],
    gidmap: [],
    bigDataNames: [],
  };
}

function containerRecord(id: HexId, layer: HexId, created: string, wanted: NewContainer, idMap: IdMap | undefined): ContainerRecord {
  return {
    id,
    names: wanted.names,
    image: wanted.imageId,
    layer,
    metadata: wanted.metadata,
    bigDataNames: [],
    bigDataSizes: new Map(),
    bigDataDigests: new Map(),
    created,
    uidmap: idMap?.uids ?? [],
    gidmap: idMap?.gids ?? [],
    flags: new Map<string, string | boolean>([
      ['MountLabel', wanted.mountLabel ?? ''],
      ['ProcessLabel', wanted.processLabel ?? ''],
      ['Volatile', true],
    ]),
  };
}

export function unknownContainer(id: string): Failure {
  return new Failure('NotFound', `locating container "${id}": container not known`);
}

/** podman's containers carry mount options of their own. */
export function mountOptionsOf(container: ContainerRecord): string[] {
  const options = container.flags.get('MountOpts');
  return Array.isArray(options) ? options.filter((option) => typeof option === 'string') : [];
}
