import { textOf } from '../../errors/index.ts';
import { type HexId, isHexId } from '../../ids/index.ts';
import type { ContainerRecord, Store } from '../../storage/index.ts';
import { defineCommand } from '../arguments.ts';
import { EXIT } from '../command.ts';
import { refuseBesideDaemon, storeOf } from '../store.ts';

export const wipe = defineCommand({
  words: '',
  count: [0, 0],
  options: { force: { type: 'boolean', short: 'f', help: 'Wipe containers and images whatever the version files say.' } },
  details: `For the boot, before the daemon starts: after a reboot or an upgrade removes the containers that CRI-O made, after an upgrade their images
too. With internal_wipe, which is the default, the daemon does that itself, and this does nothing unless it is forced.`,
  async run({ values }, context) {
    const say = (level: string, text: string) => context.terminal.err.line(`level=${level} msg=${JSON.stringify(text)}`);
    const { config, open } = storeOf(context);
    const { crio } = config;
    const due = values.force ? { containers: true, images: true } : await dueBy(crio, say);
    if (crio.internalWipe && !values.force) return EXIT.ok;
    if (!crio.internalWipe)
      say(
        'info',
        'Internal wipe not set, meaning crio wipe will wipe. In the future, all wipes after reboot will happen when starting the crio server.',
      );
    if (!due.containers) {
      say(
        'info',
        due.images
          ? 'Legacy version-file path found, but new version-file-persist path not. Skipping wipe'
          : 'Version unchanged and node not rebooted; no wipe needed',
      );
      return EXIT.ok;
    }
    await refuseBesideDaemon(config.api.listen);
    const store = await open();
    try {
      await wipeStore(store, due.images, say);
    } finally {
      await store.close();
    }
    return EXIT.ok;
  },
});

type Say = (level: string, text: string) => void;

interface VersionPaths {
  readonly versionFile: string;
  readonly versionFilePersist: string;
}

/** Each file decides for itself [A199]. */
async function dueBy({ versionFile, versionFilePersist }: VersionPaths, say: Say): Promise<{ containers: boolean; images: boolean }> {
  const { StateFiles } = await import('../../daemon/index.ts');
  const { silentLogger } = await import('../../log/index.ts');
  const log = { ...silentLogger, warn: (text: string) => say('info', text) };
  const containers = new StateFiles({ versionFile, versionFilePersist: '', cleanShutdownFile: '', log });
  const images = new StateFiles({ versionFile: '', versionFilePersist, cleanShutdownFile: '', log });
  return { containers: (await containers.wipeDecision()).pods, images: (await images.wipeDecision()).images };
}

/** Only what CRI-O made; then, if wanted, only images that it used [A204, J57]. What fails is told, and the rest goes on. */
async function wipeStore(store: Store, images: boolean, say: Say): Promise<void> {
  say('info', 'Wiping containers');
  const used = new Set<HexId>();
  for (const container of (await store.containers()).filter(isOurs)) {
    const { id, image } = container;
    if (image !== undefined) used.add(image);
    await store.unmountContainer(id, true).catch((error: unknown) => say('error', `Unable to unmount container ${id}: ${textOf(error)}`));
    try {
      await store.deleteContainer(id);
      say('info', `Deleted container ${id}`);
    } catch (error) {
      say('error', `Unable to delete container ${id}: ${textOf(error)}`);
    }
  }
  if (!images) return;
  say('info', 'Wiping images');
  for (const { id } of (await store.ownImages()).filter((image) => used.has(image.id))) {
    try {
      await store.deleteImage(id);
      say('info', `Deleted image ${id}`);
    } catch (error) {
      say('error', `Unable to delete image ${id}: ${textOf(error)}`);
    }
  }
}

/** By its metadata, which names a pod [J15]. */
function isOurs({ metadata }: ContainerRecord): boolean {
  try {
    const value: unknown = JSON.parse(metadata);
    if (typeof value !== 'object' || value === null || !('pod-name' in value) || !('pod-id' in value)) return false;
    return (
      typeof value['pod-name'] === 'string' && value['pod-name'] !== '' && typeof value['pod-id'] === 'string' && isHexId(value['pod-id'])
    );
  } catch {
    return false;
  }
}
