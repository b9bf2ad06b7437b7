import { join } from 'node:path';
import { BlockingCalls, type ProjectLimits } from '../linux/index.ts';
import type { Logger } from '../log/index.ts';
import { ArtifactStore } from './artifacts/artifact-store.ts';
import { Health } from './check/health.ts';
import { ContainerMaker } from './container-maker.ts';
import { OverlayDriver } from './driver/overlay.ts';
import { type Grave, buryLayer, removeGraves } from './graves.ts';
import { ImageMaker } from './image-maker.ts';
import { Ledger, type Records } from './ledger.ts';
import type { Places, Roots } from './places.ts';
import { settingAside } from './records/set-aside.ts';
import { Reserve, releaseAll, withReserve } from './reserve.ts';
import { Staging } from './staging.ts';
import { Unsynced } from './unsynced.ts';

export interface StoreOptions {
  /** `G`, default of CRI-O /var/lib/containers/storage. Made if missing. */
  readonly graphRoot: string;
  /** `R`, on a tmpfs, default /run/containers/storage. */
  readonly runRoot: string;
  /** `imagestore`: where images and their layers are made; default the graph root [J7]. */
  readonly imageStore?: string | undefined;
  /** Additional image stores: directories that are only read [J37]. */
  readonly additionalImageStores?: readonly string[];
  /** Words of `overlay.mountopt`. */
  readonly mountOptions?: readonly string[];
  readonly skipMountHome?: boolean;
  /** Of each container's layer, where the graph root is an XFS with project quotas [J36]. */
  readonly limits?: ProjectLimits;
  /** `additional_artifact_stores` [I55]. */
  readonly additionalArtifactStores?: readonly string[];
  /** False for a command beside the daemon: what was left by a power cut is the daemon's to mend. Default true. */
  readonly isDaemon?: boolean;
  readonly log: Logger;
}

/** What a store is made of. */
export interface StoreParts {
  readonly log: Logger;
  readonly isDaemon: boolean;
  readonly places: Places;
  readonly calls: BlockingCalls;
  readonly ledger: Ledger;
  /** One for each file system that is written. */
  readonly stagings: readonly Staging[];
  readonly reserves: readonly Reserve[];
  readonly unsynced: Unsynced;
  readonly artifacts: ArtifactStore;
  readonly health: Health;
  readonly containers: ContainerMaker;
  readonly images: ImageMaker;
  /** Makes all contents durable (syncfs), off the main thread. */
  readonly sync: () => Promise<void>;
  /** Deletes what was moved away. */
  readonly removeAll: (graves: readonly Grave[]) => Promise<void>;
}

/** Builds the parts of a store whose directories are there. */
export function partsOf(options: StoreOptions, roots: Roots): StoreParts {
  const { log } = options;
  const { graphRoot, runRoot, imageRoot, additional } = roots;
  const homeOf = (root: string) => join(root, 'overlay');
  const calls = new BlockingCalls();
  const driver = new OverlayDriver({
    home: homeOf(graphRoot),
    imageHome: homeOf(imageRoot),
    additionalHomes: additional.map(homeOf),
    runHome: homeOf(runRoot),
    mountOptions: options.mountOptions ?? [],
    skipMountHome: options.skipMountHome ?? false,
    limits: options.limits ?? { bytes: 0n, inodes: 0n },
    log,
  });
  const written = [...new Set([graphRoot, imageRoot])];
  const reserves = [...written.map((root) => new Reserve(root, { isRunRoot: false, log })), new Reserve(runRoot, { isRunRoot: true, log })];
  const makeRoom = () => releaseAll(reserves);
  const stagings = written.map((root) => new Staging({ driverHome: homeOf(root), graphRoot: root, makeRoom, log }));
  const [staging, imageStaging = staging] = stagings as [Staging, ...Staging[]];
  const places = { ...roots, driver, staging, imageStaging };
  const sync = async () => void (await Promise.all(written.map((root) => calls.syncFileSystem(root))));
  const unsynced = new Unsynced({ path: join(graphRoot, '.crio-unsynced'), sync, log });
  const removeAll = (graves: readonly Grave[]) => removeGraves(graves, staging, reserves);
  const deleteIncomplete = (records: Records) => {
    for (const { id } of records.layers.incomplete()) {
      log.warn(`Found incomplete layer "${id}", deleting it`);
      records.layers.delete(id);
      void removeAll(buryLayer(id, places));
    }
  };
  // A full disk must not keep away who can free it.
  const reinitialise = () => withReserve(reserves, () => driver.initialise());
  const hooks = { reinitialise, layersLoaded: () => driver.homes.forget(), deleteIncomplete };
  const isIdle = () => driver.carrying().size === 0;
  const isDaemon = options.isDaemon !== false;
  const ledger = new Ledger({ roots, calls, reserves, setAside: isDaemon ? settingAside(isIdle, log) : undefined, log, hooks });
  const artifacts = new ArtifactStore({
    root: join(graphRoot, 'artifacts'),
    additional: options.additionalArtifactStores ?? [],
    calls,
    log,
  });
  const health = new Health({ ledger, places, unsynced, removeAll, log });
  const images = new ImageMaker(ledger, places);
  const containers = new ContainerMaker({ ledger, places, calls, log });
  return { log, isDaemon, places, calls, ledger, stagings, reserves, unsynced, artifacts, health, containers, images, sync, removeAll };
}
