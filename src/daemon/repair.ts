import type { CrioConfig } from '../config/index.ts';
import { textOf } from '../errors/index.ts';
import type { ImageService } from '../images/index.ts';
import type { Logger } from '../log/index.ts';
import { type Finding, type Store, describe } from '../storage/index.ts';
import { shutdownWasUnclean } from './version-file.ts';

/** Layers that nobody uses are debris after a day [J55]. */
export const ORPHAN_AGE_S = 24 * 3600;

/**
 * After a run that did not end in order, looks at the store and takes out what is damaged [J53, O36]; never more: a store that
 * cannot be mended stays as it is, for `crio check` to tell of [p28]. Call it before the marks of the new run are set. Answers
 * the names of images that went, those that a power cut cost among them.
 */
export async function mendStore(config: CrioConfig, store: Store, log: Logger): Promise<readonly string[]> {
  const { lostImages } = store.health;
  if (!config.internalRepair || !shutdownWasUnclean(config.cleanShutdownFile)) return lostImages;
  log.warn(`Checking storage directory ${store.graphRoot} for errors because of unclean shutdown`);
  try {
    const found = await store.health.check({ digests: false, contents: false, maxOrphanAgeS: ORPHAN_AGE_S });
    const findings = found.filter(({ mayComeBack }) => !mayComeBack);
    for (const finding of found.filter(({ mayComeBack }) => mayComeBack))
      log.warn(`Left as it is, what it stands upon may be in an additional image store that is not mounted: ${describe(finding)}`);
    if (findings.length === 0) return lostImages;
    log.warn(`Attempting to repair storage directory ${store.graphRoot} because of unclean shutdown`);
    tell(findings, log);
    const { remaining, images } = await store.health.repair(findings, { removeContainers: true });
    if (remaining.length > 0) log.error(`${remaining.length} errors are left in storage directory ${store.graphRoot}: see crio check`);
    return [...lostImages, ...images];
  } catch (error) {
    log.error(`Repairing storage directory ${store.graphRoot} failed, it stays as it is: ${textOf(error)}`);
    return lostImages;
  }
}

/** Pulls images again that damage took, one after the other, beside everything else; the kubelet pulls those that fail. */
export async function pullAgain(names: readonly string[], images: ImageService, log: Logger): Promise<void> {
  for (const name of new Set(names)) {
    try {
      await images.pull(name);
    } catch (error) {
      log.warn(`Image ${name} was damaged and could not be pulled again: ${textOf(error)}`);
    }
  }
}

/** Pulls an image again, in the background, whenever layers of it turn out to be damaged: a kubelet that sees the image does not [p28]. */
export function mendOnSight(store: Store, images: ImageService, log: Logger): void {
  store.health.onDamaged = (id) => {
    void store
      .images()
      .then(async (all) => await pullAgain(all.find((image) => image.id === id)?.names.slice(0, 1) ?? [], images, log))
      .catch((error: unknown) => log.warn(`Image ${id} is damaged: ${textOf(error)}`));
  };
}

function tell(findings: readonly Finding[], log: Logger): void {
  for (const finding of findings) log.warn(`Damaged: ${describe(finding)}`);
}
