import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { textOf } from '../errors/index.ts';
import type { Logger } from '../log/index.ts';
import { runOk } from '../process/index.ts';
import { type Outstanding, Retries } from '../sync/index.ts';
import { isFull } from './reserve.ts';
import { recoverAround, recoverBeside, TempDirectory } from './locks/temp-directory.ts';

const REMOVE_TIMEOUT_MS = 30 * 60_000;

/**
 * Where things are made before anybody may see them, and where they go when nobody shall see them any more: a
 * directory of this process in `H/staging` and one in `overlay-layers/tmp`. Two, because the driver home is a mount
 * of its own and nothing can be renamed across. Not in `H/tempdirs`, where CRI-O 1.37 stages: podman 5.4
 * takes that for a damaged layer. What is left there when we die is deleted by whoever comes.
 */
export class Staging {
  readonly #parents: { readonly driver: string; readonly records: string; readonly foreign: string };
  readonly #makeRoom: () => boolean;
  readonly #log: Logger;
  #driver: TempDirectory | undefined;
  #records: TempDirectory | undefined;
  readonly #removals = new Set<Promise<void>>();
  readonly #stuck = new Retries();

  /** `makeRoom` finds space on a full disk, or answers false. */
  constructor(o: { driverHome: string; graphRoot: string; makeRoom: () => boolean; log: Logger }) {
    this.#parents = {
      driver: join(o.driverHome, 'staging'),
      records: join(o.graphRoot, 'overlay-layers', 'tmp'),
      foreign: join(o.driverHome, 'tempdirs'),
    };
    this.#makeRoom = o.makeRoom;
    this.#log = o.log;
  }

  /** For what ends up in, or comes from, the driver home. */
  get driver(): TempDirectory {
    return (this.#driver ??= this.#made(() => TempDirectory.around(this.#parents.driver)));
  }

  /** For everything else below the graph root. */
  get records(): TempDirectory {
    return (this.#records ??= this.#made(() => TempDirectory.beside(this.#parents.records)));
  }

  /** Nothing can be removed without these. */
  #made(make: () => TempDirectory): TempDirectory {
    try {
      return make();
    } catch (error) {
      if (!isFull(error) || !this.#makeRoom()) throw error;
      return make();
    }
  }

  /** Deletes what processes that died left in their temp directories. */
  async recover(): Promise<void> {
    const { driver, records, foreign } = this.#parents;
    const count = (await recoverAround(driver)) + (await recoverBeside(records)) + (await recoverBeside(foreign));
    if (count > 0) this.#log.info(`Removed ${count} temporary directories of processes that are gone`);
  }

  /** Makes both directories now: a full disk, where things have to be moved away, is too late. */
  prepare(): void {
    void this.driver;
    void this.records;
  }

  /** Deletes in the background. `large`: by a helper process, because the tree may have 100,000 files. */
  remove(path: string, large = false): Promise<void> {
    return this.background(`remove ${path}`, async () => {
      if (large) await runOk(['rm', '-rf', '--one-file-system', '--', path], { timeoutMs: REMOVE_TIMEOUT_MS });
      else await rm(path, { recursive: true, force: true });
    });
  }

  /** Waits for `work` at `close`. Where it fails it is tried again later, and listed as debris until it succeeds (p02). */
  background(what: string, work: () => Promise<void>): Promise<void> {
    const done = work()
      .catch((error: unknown) => {
        this.#log.warn(`Storage could not ${what}, trying again later: ${textOf(error)}`);
        this.#stuck.add(what, { what, error, work });
      })
      .finally(() => this.#removals.delete(done));
    this.#removals.add(done);
    return done;
  }

  /** Waits for the removals under way. */
  async settled(): Promise<void> {
    await Promise.all(this.#removals);
  }

  /** What could not be removed so far. */
  debris(): Outstanding[] {
    return this.#stuck.list();
  }

  async close(): Promise<void> {
    await this.settled();
    await this.#stuck.stop();
    await this.#driver?.close();
    await this.#records?.close();
  }
}
