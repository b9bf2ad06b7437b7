import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fromRfc3339, nowNs } from '../../clock/index.ts';
import { codeOf, textOf } from '../../errors/index.ts';
import type { HexId } from '../../ids/index.ts';
import { chainOf, union } from '../chains.ts';
import { damageOf } from '../driver/damage.ts';
import { bigDataFileName } from '../names.ts';
import type { ContainerRecord, ImageRecord, LayerRecord } from '../types.ts';
import { ContentsCheck } from './contents.ts';
import type { CheckOptions, Finding, Kind } from './findings.ts';
import { rebuild } from './rebuild.ts';

/** All records at one moment. */
export interface Snapshot {
  readonly graphRoot: string;
  /** Whether layers may stand upon those of additional image stores. */
  readonly hasAdditional: boolean;
  readonly layers: ReadonlyMap<HexId, LayerInRoot>;
  /** The own ones. */
  readonly images: readonly { readonly root: string; readonly record: ImageRecord }[];
  readonly containers: readonly ContainerRecord[];
}

export interface LayerInRoot {
  readonly root: string;
  readonly record: LayerRecord;
  /** In an additional image store: what stands there is not ours to judge, but others stand upon it. */
  readonly isForeign: boolean;
}

/**
 * Compares a store's records with what lies on the disk [J53, J55]. Holds no lock and changes nothing: what others remove
 * meanwhile must be sorted out by the caller, who knows the newest records.
 */
export async function check(snapshot: Snapshot, options: CheckOptions): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  const damaged = new Map<HexId, string>();
  const waiting = new Set<HexId>();
  const used = usedLayers(snapshot);
  for (const { root, record: layer, isForeign } of snapshot.layers.values()) {
    if (isForeign) continue;
    if (options.only !== undefined && !options.only.has(layer.id)) continue;
    const problems = await layerProblems(root, layer, snapshot, options);
    if (snapshot.hasAdditional && layer.parent !== undefined && !snapshot.layers.has(layer.parent)) waiting.add(layer.id);
    for (const problem of problems) findings.push(finding('layer', layer.id, problem, waiting.has(layer.id)));
    const [first] = problems;
    if (first !== undefined) damaged.set(layer.id, first);
    else if (isOldOrphan(layer, used, options))
      findings.push({ ...finding('layer', layer.id, 'layer not referenced by any images or containers'), isOrphan: true });
  }
  if (options.only === undefined) await checkOwners(snapshot, options, findings);
  for (const { record: image } of snapshot.images)
    for (const [layer, problem] of damagedBelow(image.layer, snapshot, damaged))
      findings.push(finding('image', image.id, `layer ${layer}: ${problem}`, waiting.has(layer)));
  for (const container of snapshot.containers)
    for (const [layer, problem] of damagedBelow(container.layer, snapshot, damaged))
      findings.push(finding('container', container.id, `layer ${layer}: ${problem}`, waiting.has(layer)));
  return findings;
}

function finding(kind: Kind, id: HexId, problem: string, mayComeBack = false): Finding {
  return { kind, id, problem, isOrphan: false, mayComeBack };
}

async function layerProblems(root: string, layer: LayerRecord, snapshot: Snapshot, options: CheckOptions): Promise<string[]> {
  const { graphRoot } = snapshot;
  const broken = unmountable(root, layer, snapshot);
  if (broken !== undefined) return [broken];
  const missing = layer.bigDataNames.filter((name) => !existsSync(join(graphRoot, 'overlay-layers', layer.id, bigDataFileName(name))));
  const problems = missing.map((name) => `data item ${JSON.stringify(name)}: layer data item is missing`);
  const tarSplit = join(graphRoot, 'overlay-layers', `${layer.id}.tar-split.gz`);
  // Without a tar-split (containers' layers, and what some tools import) nothing says what the contents were.
  if (!options.digests || layer.diffDigest === undefined || !existsSync(tarSplit)) return problems;
  const trees = treesOf(join(root, 'overlay', layer.id));
  try {
    // Files that were given to other ids do not belong to whom the archive says.
    const isShifted = layer.uidmap.length > 0 || layer.gidmap.length > 0;
    using contents = options.contents && !isShifted ? new ContentsCheck(trees[0] ?? '') : undefined;
    const { digest, size } = await rebuild(trees, tarSplit, (bytes) => contents?.push(bytes));
    if (digest !== layer.diffDigest) problems.push('layer content incorrect digest');
    if (layer.diffSize >= 0n && BigInt(size) !== layer.diffSize) problems.push('layer content incorrect size');
    problems.push(...(contents?.problems() ?? []));
  } catch (error) {
    problems.push(`layer content modified: ${textOf(error)}`);
  }
  return problems;
}

/** Why a layer could not be mounted; undefined where nothing speaks against it. */
function unmountable(root: string, layer: LayerRecord, { layers }: Snapshot): string | undefined {
  const parent = layer.parent === undefined ? undefined : layers.get(layer.parent);
  const below = parent === undefined ? undefined : join(parent.root, 'overlay', parent.record.id);
  const lost = layer.parent !== undefined && parent === undefined ? `its parent ${layer.parent}: layer not known` : undefined;
  return damageOf(join(root, 'overlay', layer.id), below) ?? lost;
}

async function checkOwners(snapshot: Snapshot, options: CheckOptions, findings: Finding[]): Promise<void> {
  for (const { root, record: image } of snapshot.images) {
    if (image.layer !== undefined && !snapshot.layers.has(image.layer))
      findings.push(finding('image', image.id, `layer ${image.layer}: layer not known`, snapshot.hasAdditional));
    for (const problem of await dataProblems('image', join(root, 'overlay-images', image.id), image, options))
      findings.push(finding('image', image.id, problem));
  }
  for (const container of snapshot.containers) {
    if (!snapshot.layers.has(container.layer))
      findings.push(finding('container', container.id, `layer ${container.layer}: layer not known`));
    const directory = join(snapshot.graphRoot, 'overlay-containers', container.id);
    for (const problem of await dataProblems('container', directory, container, options))
      findings.push(finding('container', container.id, problem));
  }
}

/** Data items that are missing, or have another size or, where their name says it, another digest. */
async function dataProblems(
  kind: 'image' | 'container',
  directory: string,
  record: Pick<ImageRecord, 'bigDataNames' | 'bigDataSizes'>,
  options: CheckOptions,
): Promise<string[]> {
  const problems: string[] = [];
  for (const name of record.bigDataNames) {
    const say = (what: string) => problems.push(`data item ${JSON.stringify(name)}: ${kind} data item ${what}`);
    try {
      const bytes = await readFile(join(directory, bigDataFileName(name)));
      const size = record.bigDataSizes.get(name);
      const named = /^(?:manifest-)?sha256:([0-9a-f]{64})$/.exec(name)?.[1];
      if (size !== undefined && BigInt(bytes.length) !== size) say('has incorrect size');
      else if (options.digests && named !== undefined && !isSigned(bytes) && sha256Of(bytes) !== named) say('has incorrect digest');
    } catch (error) {
      say(codeOf(error) === 'ENOENT' ? 'is missing' : `cannot be read: ${textOf(error)}`);
    }
  }
  return problems;
}

/** The digest of a manifest of docker schema 1 is not that of its bytes. */
function isSigned(bytes: Buffer): boolean {
  return bytes.includes('"fsLayers"');
}

function sha256Of(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The first damaged layer of a chain; undefined id for none. */
function damagedBelow(
  top: HexId | undefined,
  { layers }: Snapshot,
  damaged: ReadonlyMap<HexId, string>,
): readonly (readonly [HexId, string])[] {
  for (const { id } of chainOf(top, (layer) => layers.get(layer)?.record)) {
    const problem = damaged.get(id);
    if (problem !== undefined) return [[id, problem]];
  }
  return [];
}

function usedLayers({ layers, images, containers }: Snapshot): ReadonlySet<HexId> {
  const tops = [
    ...images.flatMap(({ record }) => [record.layer, ...record.mappedLayers]),
    ...containers.map((container) => container.layer),
  ];
  return union(tops, (id) => layers.get(id)?.record);
}

function isOldOrphan(layer: LayerRecord, used: ReadonlySet<HexId>, { maxOrphanAgeS }: CheckOptions): boolean {
  if (maxOrphanAgeS === undefined || used.has(layer.id)) return false;
  const created = fromRfc3339(layer.created) ?? 0n;
  return nowNs() - created > BigInt(Math.round(maxOrphanAgeS * 1e9));
}

/** A layer's contents, and older ones from before it was shifted to other ids. */
function treesOf(directory: string): readonly string[] {
  const trees = [join(directory, 'diff')];
  for (let n = 1; existsSync(join(directory, `diff${n}`)); n++) trees.push(join(directory, `diff${n}`));
  return trees;
}
