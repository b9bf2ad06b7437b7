import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { nowNs, toRfc3339 } from '../clock/index.ts';
import { Failure } from '../errors/index.ts';
import type { HexId } from '../ids/index.ts';
import type { Below, OverlayDriver } from './driver/overlay.ts';
import { buryLayer, type Grave, unknownImage } from './images.ts';
import type { Change, Records } from './ledger.ts';
import { unmountLayer } from './mounts.ts';
import type { Staging } from './staging.ts';
import type { ContainerRecord, LayerRecord, NewContainer } from './types.ts';

export interface ContainerPlaces {
  readonly graphRoot: string;
  readonly runRoot: string;
  readonly driver: OverlayDriver;
  readonly staging: Staging;
}

/** `G/overlay-containers/<id>/userdata` [J22]. */
export function containerDirectory(graphRoot: string, id: HexId): string {
  return join(graphRoot, 'overlay-containers', id, 'userdata');
}

/** What has to be free, or there, before a container can be made; answers its layer's parent. */
function checkNewContainer({ layers, images, containers }: Records, id: HexId, wanted: NewContainer): HexId | undefined {
  const image = images.get(wanted.imageId);
  if (image === undefined) throw unknownImage(wanted.imageId);
  if (containers.get(id) !== undefined) throw new Failure('AlreadyExists', `container "${id}": that ID is already in use`);
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

/** Puts a layer directory that was built in `built` in its place and records layer and container, both volatile [J13, J14]. */
export function createContainer(
  records: Records,
  places: ContainerPlaces,
  o: { id: HexId; layer: HexId; below: Below; built: string; wanted: NewContainer },
): Change<ContainerRecord> {
  const { id, layer, built, wanted } = o;
  const parent = checkNewContainer(records, id, wanted);
  const { driver, staging } = places;
  driver.checkBelow(parent, o.below);
  driver.publish(built, layer, () => staging.driver.grave(layer));
  const made = [containerDirectory(places.graphRoot, id), containerDirectory(places.runRoot, id)];
  for (const directory of made) mkdirSync(directory, { recursive: true, mode: 0o700 });
  const created = toRfc3339(nowNs());
  records.layers.add(containerLayer(layer, parent, created, wanted), 'volatile');
  const record = containerRecord(id, layer, created, wanted);
  records.containers.add(record);
  const undo = () => {
    driver.bury(layer, () => built);
    for (const directory of made) rmSync(join(directory, '..'), { recursive: true, force: true });
  };
  return { result: record, undo };
}

/** Removes a container, its layer and its directories; what is still to be deleted comes back. Unknown is nothing to do [J21]. */
export function deleteContainer(records: Records, places: ContainerPlaces, id: HexId): Change<Grave[]> {
  const container = records.containers.get(id);
  if (container === undefined) return { result: [] };
  const { driver, staging, graphRoot, runRoot } = places;
  unmountLayer(records, driver, container.layer, true);
  records.containers.delete(id);
  records.layers.delete(container.layer);
  const graves: Grave[] = [];
  const afterwards = () => {
    graves.push(...buryLayer(container.layer, graphRoot, driver, staging, false));
    for (const root of [graphRoot, runRoot]) graves.push({ path: join(containerDirectory(root, id), '..'), large: false });
  };
  return { result: graves, afterwards };
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

function containerRecord(id: HexId, layer: HexId, created: string, wanted: NewContainer): ContainerRecord {
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
    uidmap: wanted.idMap?.uids ?? [],
    gidmap: wanted.idMap?.gids ?? [],
    flags: new Map<string, string | boolean>([
      ['MountLabel', wanted.mountLabel ?? ''],
      ['ProcessLabel', wanted.processLabel ?? ''],
      ['Volatile', true],
    ]),
  };
}
