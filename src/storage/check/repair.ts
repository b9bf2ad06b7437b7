import { existsSync } from 'node:fs';
import type { HexId } from '../../ids/index.ts';
import { neededLayers } from '../chains.ts';
import { containerRoots } from '../containers.ts';
import { type Grave, buryLayer } from '../graves.ts';
import { imageDirectory } from '../images.ts';
import type { Change, Records } from '../ledger.ts';
import type { Places } from '../places.ts';
import type { Finding } from './findings.ts';

export interface RepairOptions {
  /** Damaged containers go too, unless they are mounted [A209]. */
  readonly removeContainers: boolean;
}

export interface Repaired {
  readonly graves: Grave[];
  /** Names of images that are gone: pulled again, they are whole. */
  readonly images: readonly string[];
}

/**
 * Takes what is damaged out of a store, and nothing else: containers if that is allowed, images that no container uses, and
 * damaged layers with what stands upon them [A209, J59, p28]. Sound layers below stay, so that a pull fetches only the rest.
 */
export function removeDamaged(records: Records, places: Places, findings: readonly Finding[], options: RepairOptions): Change<Repaired> {
  const idsOf = (kind: Finding['kind']) => new Set(findings.filter((finding) => finding.kind === kind).map(({ id }) => id));
  const paths: string[] = [];
  const containerLayers = options.removeContainers ? removeContainers(records, places, idsOf('container'), paths) : [];
  // An image volume has no container record: what is mounted shows it.
  const carrying = places.driver.carrying();
  const images = removeImages(records, idsOf('image'), carrying, paths);
  const layers = [...containerLayers, ...removeLayers(records, idsOf('layer'), carrying)];
  const graves: Grave[] = [];
  const afterwards = () => {
    for (const layer of layers) graves.push(...buryLayer(layer, places));
    for (const path of paths) if (existsSync(path)) graves.push({ path, large: false });
  };
  return { result: { graves, images }, afterwards };
}

function removeContainers(records: Records, places: Places, damaged: ReadonlySet<HexId>, paths: string[]): HexId[] {
  const layers: HexId[] = [];
  for (const id of damaged) {
    const container = records.containers.get(id);
    if (container === undefined || places.driver.isMounted(container.layer)) continue;
    records.containers.delete(id);
    records.layers.delete(container.layer);
    records.mounts.delete(container.layer);
    layers.push(container.layer);
    paths.push(...containerRoots(places, id));
  }
  return layers;
}

function removeImages(records: Records, damaged: ReadonlySet<HexId>, carrying: ReadonlySet<HexId>, paths: string[]): string[] {
  const names: string[] = [];
  for (const id of damaged) {
    const image = records.images.own(id);
    if (image === undefined || (image.layer !== undefined && carrying.has(image.layer))) continue;
    if (records.containers.values().some((container) => container.image === id)) continue;
    names.push(...image.names);
    for (const root of records.images.delete(id)) paths.push(imageDirectory(root, id));
  }
  return names;
}

/** Damaged or orphaned layers and all upon them, the topmost first, as far as no image and no container needs them. */
function removeLayers(records: Records, wanted: ReadonlySet<HexId>, carrying: ReadonlySet<HexId>): HexId[] {
  const used = neededLayers(records);
  const children = Map.groupBy(records.layers.values(), ({ parent }) => parent);
  const removed: HexId[] = [];
  const seen = new Set<HexId>();
  const remove = (id: HexId): void => {
    if (seen.has(id) || used.has(id) || carrying.has(id) || records.layers.own(id) === undefined) return;
    seen.add(id);
    for (const child of children.get(id) ?? []) remove(child.id);
    if (records.layers.hasChildren(id)) return;
    records.layers.delete(id);
    records.mounts.delete(id);
    removed.push(id);
  };
  for (const id of wanted) remove(id);
  return removed;
}
