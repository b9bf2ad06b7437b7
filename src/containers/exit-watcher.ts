import { type FSWatcher, watch } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { textOf } from '../errors/index.ts';
import { isHexId } from '../ids/index.ts';
import type { ContainerContext } from './context.ts';
import { takeExit } from './exit.ts';

/**
 * Watches the exits directory by inotify and takes each exit into its container [D172]. Start it before the first
 * container is created or restored, then `scan` once: files that came while nobody looked are handled too.
 */
export class ExitWatcher {
  readonly #ctx: ContainerContext;
  #watcher: FSWatcher | undefined;
  readonly #under = new Set<Promise<void>>();

  constructor(ctx: ContainerContext) {
    this.#ctx = ctx;
  }

  start(): void {
    this.#watcher = watch(this.#ctx.exitsDir, { persistent: false }, (_, name) => {
      // conmon's temporary names are `<id>.XXXXXX`: only a bare id counts.
      if (name !== null && isHexId(name)) this.#take(name);
    });
    this.#watcher.on('error', (error) => this.#ctx.log.error(`Watching ${this.#ctx.exitsDir} failed: ${textOf(error)}`));
  }

  /** Exits that nobody has taken yet; files of containers that are not ours any more are removed. */
  async scan(): Promise<void> {
    for (const name of await readdir(this.#ctx.exitsDir)) {
      if (!isHexId(name)) continue;
      if (this.#ctx.registry.monitored(name) === undefined) await rm(join(this.#ctx.exitsDir, name), { force: true });
      else this.#take(name);
    }
  }

  /** Ends the watch and waits for what is under way. */
  async stop(): Promise<void> {
    this.#watcher?.close();
    await Promise.all(this.#under);
  }

  #take(id: string): void {
    const container = this.#ctx.registry.monitored(id);
    if (container === undefined) return;
    const work = takeExit(this.#ctx, container)
      .catch((error) => this.#ctx.log.error(`Handling the exit of container ${id} failed: ${textOf(error)}`))
      .finally(() => this.#under.delete(work));
    this.#under.add(work);
  }
}
