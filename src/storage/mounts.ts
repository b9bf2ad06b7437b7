import type { HexId } from '../ids/index.ts';
import { readMounts, unmountIfMounted } from '../linux/index.ts';
import type { LayerMount, OverlayDriver } from './driver/overlay.ts';
import type { Records } from './ledger.ts';

/**
 * Mounts a layer, or counts one more user of a mount that is there (docs/reference/cri-o-ondisk.md §3.3).
 * Part of a change: the caller holds the locks.
 */
export function mountLayer(records: Records, driver: OverlayDriver, layer: HexId, request: LayerMount): string {
  const known = records.mounts.get(layer);
  const path = driver.mount(layer, request);
  records.mounts.set({ id: layer, path, count: (known?.count ?? 0) + 1 });
  return path;
}

/** Takes one user away, or all of them (`force`); the last one unmounts. Not mounted is fine. */
export function unmountLayer(records: Records, driver: OverlayDriver, layer: HexId, force: boolean): void {
  const known = records.mounts.get(layer);
  if (known !== undefined && known.count > 1 && !force) {
    records.mounts.set({ ...known, count: known.count - 1 });
    return;
  }
  if (known === undefined && !driver.isMounted(layer)) return;
  driver.unmount(layer);
  records.mounts.delete(layer);
}

/** Takes users of a mount away until there are `users`, but at most `most`: a crash forgot them. */
export function trimUsers(
  records: Records,
  driver: OverlayDriver,
  layer: HexId,
  o: { readonly users: number; readonly most: number },
): void {
  for (let taken = 0; taken < o.most; taken++) {
    if ((records.mounts.get(layer)?.count ?? 0) <= o.users) return;
    unmountLayer(records, driver, layer, false);
  }
}

/** Mounts of others below directories that are about to be removed (a pod's shm, say) are detached, the deepest first. */
export async function unmountBelow(directories: readonly string[]): Promise<void> {
  const mounts = await readMounts();
  for (const { mountPoint } of mounts.toReversed())
    if (directories.some((directory) => mountPoint === directory || mountPoint.startsWith(`${directory}/`))) unmountIfMounted(mountPoint);
}
