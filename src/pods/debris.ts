import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Intent } from '../containers/index.ts';
import { Failure, textOf } from '../errors/index.ts';
import { type Outstanding, Retries } from '../sync/index.ts';
import type { PodContext } from './context.ts';
import { endHelpers, undoIntent } from './recover.ts';

/**
 * What could not be taken away when a creation failed or was cut off (p02). Its names are free at once; the rest is tried again with
 * growing pauses, for ever. The journal keeps it over a restart, and after a reboot its record, which has no config.json
 * any more, is collected as any other that was half removed.
 */
export class Debris {
  readonly #ctx: PodContext;
  readonly #retries = new Retries();

  constructor(ctx: PodContext) {
    this.#ctx = ctx;
    ctx.journal.onDebris = (intent, leftovers) => this.#afterFailedUndo(intent, leftovers);
  }

  /** Undo steps that failed when a creation did. */
  async #afterFailedUndo(intent: Intent, leftovers: readonly string[]): Promise<void> {
    const imageVolumes = (intent.imageVolumes ?? []).filter((image) => leftovers.includes(`unmount image ${image}`));
    await this.keep({ ...intent, imageVolumes }, new Failure('Unknown', `could not be undone: ${leftovers.join(', ')}`));
  }

  async keep(intent: Intent, error: unknown): Promise<void> {
    const { kind, id } = intent;
    this.#ctx.log.error(`Debris of ${kind} ${id} stays for now, its names are free: ${textOf(error)}`);
    await this.#freeNames(intent);
    this.#retries.add(id, { what: `${kind} ${id}`, error, work: () => this.#takeAway(intent) });
  }

  /** Whether a record of that id is debris, and no pod or container. */
  has(id: string): boolean {
    return this.#retries.has(id);
  }

  list(): Outstanding[] {
    return [...this.#retries.list(), ...this.#ctx.network.debris(), ...this.#ctx.store.debris()];
  }

  async stop(): Promise<void> {
    await this.#retries.stop();
  }

  async #takeAway(intent: Intent): Promise<void> {
    const { kind, id } = intent;
    endHelpers(new Set([id]));
    await this.#freeNames(intent);
    await undoIntent(this.#ctx, intent);
    await this.#ctx.journal.forget(id);
    this.#ctx.log.info(`Debris of ${kind} ${id} is gone`);
  }

  /** Without its config.json nobody takes the record for a pod or container, whoever starts next. */
  async #freeNames({ kind, id }: Intent): Promise<void> {
    const { log, store } = this.#ctx;
    try {
      await store.freeContainerNames(id);
      for (const directory of [store.containerDirectory(id), store.containerRunDirectory(id)])
        await rm(join(directory, 'config.json'), { force: true });
    } catch (error) {
      log.error(`Freeing the names of ${kind} ${id} failed: ${textOf(error)}`);
    }
  }
}
