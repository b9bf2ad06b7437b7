import { textOf } from '../errors/index.ts';
import type { Logger } from '../log/index.ts';
import type { Store } from '../storage/index.ts';

const EVERY_MS = 3600_000;

/**
 * Every hour, and `atOnce` if that is wanted, removes image layers that nobody has needed for a day: pulls that were given up leave them for the next try, and
 * the kubelet's garbage collection, which counts images, does not know of them (p23).
 */
export class OrphanCollection {
  readonly #store: Pick<Store, 'collectOrphans'>;
  readonly #olderThanS: number;
  readonly #log: Logger;
  readonly #timer: NodeJS.Timeout;
  #work: Promise<void>;

  constructor(store: Pick<Store, 'collectOrphans'>, o: { readonly olderThanS: number; readonly atOnce: boolean; readonly log: Logger }) {
    this.#store = store;
    this.#olderThanS = o.olderThanS;
    this.#log = o.log;
    this.#work = o.atOnce ? this.#collect() : Promise.resolve();
    const again = () => {
      this.#work = this.#work.then(() => this.#collect());
    };
    this.#timer = setInterval(again, EVERY_MS).unref();
  }

  /** Waits for what is under way. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#work;
  }

  async #collect(): Promise<void> {
    try {
      const count = await this.#store.collectOrphans(this.#olderThanS);
      if (count > 0) this.#log.info(`Removed ${count} image layers that nobody has needed for ${this.#olderThanS / 3600} hours`);
    } catch (error) {
      this.#log.warn(`Image layers that nobody needs could not be removed, trying again in an hour: ${textOf(error)}`);
    }
  }
}
