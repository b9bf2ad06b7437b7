import { existsSync, renameSync } from 'node:fs';
import { chmod, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { nowNs, toRfc3339 } from '../clock/index.ts';
import { Failure, codeOf } from '../errors/index.ts';
import type { HexId } from '../ids/index.ts';
import { flagsOf, withProof } from './decrypted-layers.ts';
import type { Built, OverlayDriver } from './driver/overlay.ts';
import type { Change, Ledger, Records } from './ledger.ts';
import type { Places } from './places.ts';
import type { Unsynced } from './unsynced.ts';
import type { LayerRecord, LayerToCommit, StagedLayer } from './types.ts';

export interface LayerWorkshop extends Places {
  readonly ledger: Ledger;
  /** Undefined beside the daemon, whose list it is: then each layer is made durable by `sync` before it is committed. */
  readonly unsynced: Unsynced | undefined;
  readonly sync: () => Promise<void>;
}

/** Where a layer's tar-split is kept (docs/reference/cri-o-ondisk.md §4.6): below the graph root, wherever the layer is. */
export function tarSplitPath(graphRoot: string, layer: HexId): string {
  return join(graphRoot, 'overlay-layers', `${layer}.tar-split.gz`);
}

/**
 * Stages a layer (§4.5): contents and tar-split grow in temp directories, without a record and without a lock that
 * anybody waits for. `commit` finishes the directory there too and then publishes it by renames and one save, so no
 * record is ever `incomplete`: such a one would be deleted by the next tool that looks [J42].
 */
export async function stageLayer(shop: LayerWorkshop): Promise<StagedLayer> {
  const diffDir = shop.imageStaging.driver.addition();
  const tarSplit = shop.staging.records.addition();
  await mkdir(diffDir, { mode: 0o755 });
  let ended = false;
  const discard = async () => {
    if (ended) return;
    ended = true;
    await Promise.all([shop.imageStaging.remove(diffDir, true), rm(tarSplit, { force: true })]);
  };
  const commit = async (layer: LayerToCommit): Promise<LayerRecord> => {
    if (ended) throw new Failure('Internal', 'a staged layer was committed twice');
    const existing = await shop.ledger.read('layers', ({ layers }) => knownLayer(shop, layers, layer));
    if (existing !== undefined) {
      await discard();
      return await admit(shop, existing, layer);
    }
    const hasTarSplit = await asTarSplit(tarSplit);
    const path = shop.imageStaging.driver.addition();
    let built: Built | undefined;
    try {
      [built] = await Promise.all([
        shop.driver.build(path, layer.id, layer.parent, { home: shop.driver.imageHome, contents: diffDir }),
        shop.unsynced?.add(layer.id),
      ]);
      if (shop.unsynced === undefined) await shop.sync();
      const made = { path, built, tarSplit: hasTarSplit ? tarSplit : undefined };
      const record = await shop.ledger.change('make', (records) => publish(shop, records, layer, made));
      ended = true;
      if (existsSync(path)) await throwAway(shop, path, built);
      return record;
    } catch (error) {
      await Promise.all([discard(), throwAway(shop, path, built)]);
      throw error;
    }
  };
  return { diffDir, tarSplitPath: tarSplit, commit, discard };
}

/** Removes what was built and not published. */
async function throwAway(shop: LayerWorkshop, path: string, built: Built | undefined): Promise<void> {
  await Promise.all([built && shop.driver.unlink(built), shop.imageStaging.remove(path, true)]);
}

interface Made {
  readonly path: string;
  readonly built: Built;
  readonly tarSplit: string | undefined;
}

function publish(shop: LayerWorkshop, { layers }: Records, layer: LayerToCommit, { path, built, tarSplit }: Made): Change<LayerRecord> {
  const existing = knownLayer(shop, layers, layer);
  // Somebody else was faster with the same contents; ours stay where they are and are thrown away.
  if (existing !== undefined) return { result: admitted(layers, existing, layer) };
  shop.driver.checkBelow(layer.parent, built);
  const isKept = isCarrying(shop, layers, layer.id);
  const directory = isKept ? undefined : shop.driver.publish(path, layer.id, built, () => shop.imageStaging.driver.grave(layer.id));
  const splitPath = tarSplitPath(shop.graphRoot, layer.id);
  if (tarSplit !== undefined) renameSync(tarSplit, splitPath);
  const record = recordOf(layer);
  layers.add(record, 'durable');
  const undo = () => {
    if (directory !== undefined) renameSync(directory, path);
    if (tarSplit !== undefined) renameSync(splitPath, tarSplit);
  };
  return { result: record, undo, afterwards: () => settleUpon(shop.driver, layers, layer.id) };
}

/** Layers that were left without this one, because its additional store was taken away, stand upon the new one from now on. */
function settleUpon(driver: OverlayDriver, layers: Records['layers'], parent: HexId): void {
  const children = [...layers.values()].filter((layer) => layer.parent === parent);
  for (const { id } of children) if (driver.standUpon(id, parent)) settleUpon(driver, layers, id);
}

/**
 * Whether mounted containers stand upon a directory of that id: then it is not replaced, as they would lose their files. Where it has
 * lost its record only, it is the layer, and gets a record again.
 */
function isCarrying({ driver }: LayerWorkshop, layers: Records['layers'], id: HexId): boolean {
  if (!driver.homes.own.values().some((home) => existsSync(join(home, id))) || !driver.carrying().has(id)) return false;
  const record = layers.own(id);
  const damage = record === undefined ? undefined : driver.damage(record);
  if (damage === undefined) return true;
  throw new Failure('FailedPrecondition', `layer ${id} is damaged (${damage}), and mounted containers stand upon it`, {
    advice: 'Stop them, then pull the image again.',
  });
}

/** The layer if it is there, and not damaged; NotFound if it could not be because its parent is not. */
function knownLayer({ driver }: LayerWorkshop, layers: Records['layers'], { id, parent }: LayerToCommit): LayerRecord | undefined {
  const existing = layers.get(id);
  if (existing !== undefined && driver.damage(existing) === undefined) return existing;
  if (parent !== undefined && layers.get(parent) === undefined)
    throw new Failure('NotFound', `parent layer ${parent} of layer ${id} is not known: layer not known`, {
      advice: 'Pull the image again: its lower layers were removed meanwhile.',
    });
  return undefined;
}

/** Notes that somebody brought the contents of a layer that is here [a47]. */
async function admit(shop: LayerWorkshop, known: LayerRecord, layer: LayerToCommit): Promise<LayerRecord> {
  if (withProof(known, layer.proof) === undefined) return known;
  return await shop.ledger.change('make', ({ layers }) => {
    const existing = knownLayer(shop, layers, layer);
    return { result: existing === undefined ? known : admitted(layers, existing, layer) };
  });
}

function admitted(layers: Records['layers'], existing: LayerRecord, { proof }: LayerToCommit): LayerRecord {
  const renewed = withProof(existing, proof);
  // A layer of an additional store is noted there or nowhere.
  if (renewed === undefined || layers.own(existing.id) === undefined) return existing;
  layers.replace(renewed);
  return renewed;
}

function recordOf(layer: LayerToCommit): LayerRecord {
  return {
    id: layer.id,
    names: [],
    parent: layer.parent,
    metadata: '',
    mountLabel: '',
    created: toRfc3339(nowNs()),
    compressedDiffDigest: layer.decryptedDigest ?? layer.blobDigest,
    compressedSize: layer.blobDigest === undefined ? 0n : BigInt(layer.blobSize),
    diffDigest: layer.diffId,
    diffSize: BigInt(layer.diffSize),
    tocDigest: undefined,
    compression: layer.compression,
    uidset: layer.uids,
    gidset: layer.gids,
    flags: flagsOf(layer.proof),
    uidmap: [],
    gidmap: [],
    bigDataNames: [],
  };
}

/** Gives a file the mode of a tar-split; false if there is none. */
async function asTarSplit(path: string): Promise<boolean> {
  try {
    await chmod(path, 0o600);
    return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
}
