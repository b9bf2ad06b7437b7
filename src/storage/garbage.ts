import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fromRfc3339, nowNs } from '../clock/index.ts';
import { codeOf } from '../errors/index.ts';
import { type HexId, isHexId } from '../ids/index.ts';
import { neededLayers, union } from './chains.ts';
import { type Grave, buryLayer } from './graves.ts';
import type { Change, Records } from './ledger.ts';
import type { Places } from './places.ts';
import type { LayerRecord } from './types.ts';

export interface Collected {
  readonly graves: Grave[];
  /** Directories that no record names and something that is mounted stands upon: records were lost, not layers. */
  readonly kept: HexId[];
}

/**
 * What a crash may have left: container layers without a container (ours by their name), and directories with the
 * name of an id that no record knows [J44]. Only for the start of the daemon: another CRI-O is not running then.
 */
export function collectGarbage(records: Records, places: Places): Change<Collected> {
  const { graphRoot, runRoot, imageRoot, driver } = places;
  const orphans = orphanedLayers(records).filter((layer) => !driver.isMounted(layer));
  for (const layer of orphans) {
    records.layers.delete(layer);
    records.mounts.delete(layer);
  }
  const graves: Grave[] = [];
  const kept: HexId[] = [];
  const afterwards = () => {
    for (const layer of orphans) graves.push(...buryLayer(layer, places));
    const unknown = driver.homes.layersOnDisk().filter((layer) => records.layers.get(layer) === undefined);
    const carrying = unknown.length === 0 ? new Set<HexId>() : driver.carrying();
    for (const layer of unknown)
      if (carrying.has(layer)) kept.push(layer);
      else graves.push(...buryLayer(layer, places));
    driver.homes.removeDanglingLinks();
    const images = [...new Set([graphRoot, imageRoot])].flatMap((root) => strays(join(root, 'overlay-images'), isImageOf(records, root)));
    const isContainer = (id: HexId) => records.containers.get(id) !== undefined;
    const containers = strays(join(graphRoot, 'overlay-containers'), isContainer);
    const runs = hasTransientRecords(runRoot) ? [] : strays(join(runRoot, 'overlay-containers'), isContainer);
    for (const path of [...images, ...containers, ...runs, ...halfWritten(places)]) graves.push({ path, large: false });
  };
  return { result: { graves, kept }, afterwards };
}

/**
 * Image layers that no image and no container has needed for so many seconds: those of pulls that were given up, which no garbage
 * collection of images finds (p23). What has a name, is mounted, or carries another layer stays.
 */
export function collectOrphans(
  records: Records,
  places: Places,
  olderThanS: number,
): Change<{ readonly graves: Grave[]; readonly count: number }> {
  const { layers, mounts } = records;
  const before = nowNs() - BigInt(olderThanS) * 1_000_000_000n;
  const needed = hasTransientRecords(places.runRoot) ? undefined : neededLayers(records);
  const isOld = ({ created }: LayerRecord) => (fromRfc3339(created) ?? before) < before;
  const isOrphan = (layer: LayerRecord) =>
    needed?.has(layer.id) === false && layer.diffDigest !== undefined && layer.names.length === 0 && isOld(layer);
  const isIdle = ({ id }: LayerRecord) => mounts.get(id) === undefined && !places.driver.isMounted(id);
  const found = [...layers.values()].filter((layer) => isOrphan(layer) && isIdle(layer));
  const wanted = new Set(found.map(({ id }) => id));
  const others = [...layers.values()].flatMap(({ id }) => (wanted.has(id) ? [] : [id]));
  const carrying = union(others, (id) => layers.get(id));
  const orphans = [...wanted].filter((id) => !carrying.has(id));
  for (const id of orphans) layers.delete(id);
  const graves: Grave[] = [];
  const afterwards = () => {
    for (const layer of orphans) graves.push(...buryLayer(layer, places));
  };
  return { result: { graves, count: orphans.length }, afterwards };
}

/** Layers of containers of ours (`k8s_…-layer` [J14]) whose container's record never came, or went alone. */
function orphanedLayers(records: Records): HexId[] {
  const used = new Set<HexId>();
  for (const container of records.containers.values()) used.add(container.layer);
  return [...records.layers.volatileValues()]
    .filter(
      (layer) => !used.has(layer.id) && layer.names.some((name) => /^k8s_.*-layer$/s.test(name)) && !records.layers.hasChildren(layer.id),
    )
    .map((layer) => layer.id);
}

function isImageOf(records: Records, root: string): (id: HexId) => boolean {
  const ids = new Set<HexId>();
  for (const own of records.images.ownValues()) if (own.root === root) ids.add(own.record.id);
  return (id) => ids.has(id);
}

/** podman's `transient_store` keeps its container records below the run root, where we do not read them. */
function hasTransientRecords(runRoot: string): boolean {
  return namesIn(join(runRoot, 'overlay-containers')).some((name) => name.endsWith('.json'));
}

/** Record files that were being written: whoever writes one holds its lock, and now we hold them all. */
function halfWritten({ graphRoot, runRoot, imageRoot }: Places): string[] {
  const kinds = ['layers', 'images', 'containers'].map((kind) => `overlay-${kind}`);
  const directories = [graphRoot, imageRoot].flatMap((root) => kinds.map((kind) => join(root, kind)));
  return [...new Set([...directories, join(runRoot, 'overlay-layers')])].flatMap((directory) =>
    namesIn(directory)
      .filter((name) => name.startsWith('.tmp-'))
      .map((name) => join(directory, name)),
  );
}

function strays(directory: string, isKnown: (id: HexId) => boolean): string[] {
  return namesIn(directory)
    .filter((name) => isHexId(name) && !isKnown(name))
    .map((name) => join(directory, name));
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}
