import { join } from 'node:path';
import { BlockingCalls } from '../linux/index.ts';
import type { Logger } from '../log/index.ts';
import { ArtifactStore } from './artifacts/artifact-store.ts';
import { Health } from './check/health.ts';
import { ContainerMaker } from './container-maker.ts';
import { OverlayDriver } from './driver/overlay.ts';
import { type Grave, buryLayer, removeGraves } from './graves.ts';
import { Ledger, type Records } from './ledger.ts';
import type { Places } from './places.ts';
import { Reserve } from './reserve.ts';
import { Staging } from './staging.ts';
import { Unsynced } from './unsynced.ts';

export interface StoreOptions {
  /** `G`, default of CRI-O /var/lib/containers/storage. Made if missing. */
  readonly graphRoot: string;
  /** `R`, on a tmpfs, default /run/containers/storage. */
  readonly runRoot: string;
  /** Words of `overlay.mountopt`. */
  readonly mountOptions?: readonly string[];
  readonly skipMountHome?: boolean;
  /** `additional_artifact_stores` [I55]. */
  readonly additionalArtifactStores?: readonly string[];
  /** False for a command beside the daemon: what was left by a power cut is the daemon's to mend. Default true. */
  readonly isDaemon?: boolean;
  readonly log: Logger;
}

/** What a store is made of. */
export interface StoreParts {
  readonly log: Logger;
  readonly places: Places;
  readonly calls: BlockingCalls;
  readonly ledger: Ledger;
  readonly reserve: Reserve;
  readonly unsynced: Unsynced;
  readonly artifacts: ArtifactStore;
  readonly health: Health;
  readonly containers: ContainerMaker;
  /** Makes all contents durable (syncfs), off the main thread. */
  readonly sync: () => Promise<void>;
  /** Deletes what was moved away. */
  readonly removeAll: (graves: readonly Grave[]) => Promise<void>;
}

/** Builds the parts of a store whose directories are there. */
export function partsOf(options: StoreOptions): StoreParts {
  const { graphRoot, runRoot, log } = options;
  const home = join(graphRoot, 'overlay');
  const calls = new BlockingCalls();
  const driver = new OverlayDriver({
    home,
    runHome: join(runRoot, 'overlay'),
    mountOptions: options.mountOptions ?? [],
    skipMountHome: options.skipMountHome ?? false,
    log,
  });
  const staging = new Staging({ driverHome: home, graphRoot, log });
  const places = { graphRoot, runRoot, driver, staging };
  const reserve = new Reserve(join(graphRoot, '.crio-reserve'), log);
  const sync = () => calls.syncFileSystem(graphRoot);
  const unsynced = new Unsynced({ path: join(graphRoot, '.crio-unsynced'), sync, log });
  const removeAll = (graves: readonly Grave[]) => removeGraves(graves, staging, reserve);
  const deleteIncomplete = (records: Records) => {
    for (const { id } of records.layers.incomplete()) {
      log.warn(`Found incomplete layer "${id}", deleting it`);
      records.layers.delete(id);
      void removeAll(buryLayer(id, places));
    }
  };
  const hooks = { reinitialise: () => driver.initialise(), layersLoaded: () => driver.forget(), deleteIncomplete };
  const ledger = new Ledger({ graphRoot, runRoot, calls, reserve, log, hooks });
  const additional = options.additionalArtifactStores ?? [];
  const artifacts = new ArtifactStore({ root: join(graphRoot, 'artifacts'), additional, calls, log });
  const health = new Health({ ledger, places, unsynced, removeAll, log });
  const containers = new ContainerMaker({ ledger, places, calls, log });
  return { log, places, calls, ledger, reserve, unsynced, artifacts, health, containers, sync, removeAll };
}
