import { renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { codeOf } from '../errors/index.ts';
import type { HexId } from '../ids/index.ts';
import { type Places, stagingOf } from './places.ts';
import type { Reserve } from './reserve.ts';
import type { Staging } from './staging.ts';
import { tarSplitPath } from './staged-layer.ts';

/** Something moved away that is still to be deleted. */
export interface Grave {
  readonly path: string;
  /** Whether it may hold very many files. */
  readonly large: boolean;
}

/** Moves a layer's directories, tar-split and data away. Its record is gone already. */
export function buryLayer(layer: HexId, places: Places): Grave[] {
  const { graphRoot, driver, staging } = places;
  const graves = [...driver.homes.own].map((home) => {
    const grave = stagingOf(places, dirname(home)).driver.grave(layer);
    driver.bury(layer, home, () => grave);
    return { path: grave, large: true };
  });
  for (const path of [tarSplitPath(graphRoot, layer), join(graphRoot, 'overlay-layers', layer)]) {
    const other = staging.records.grave(path);
    if (moved(path, other)) graves.push({ path: other, large: false });
  }
  return graves;
}

/** Whether there was something at `from` to be moved. */
export function moved(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
}

/** Deletes what was moved away, and takes the reserves again from the space that this gave. */
export async function removeGraves(graves: readonly Grave[], staging: Staging, reserves: readonly Reserve[]): Promise<void> {
  await Promise.all(graves.map(({ path, large }) => staging.remove(path, large)));
  await Promise.all(reserves.map((reserve) => reserve.refill()));
}
