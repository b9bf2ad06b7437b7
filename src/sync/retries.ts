import { textOf } from '../errors/index.ts';

/** Milliseconds between tries: doubled after each, so that what never succeeds costs next to nothing. */
export interface Backoff {
  readonly firstMs: number;
  readonly mostMs: number;
}

/** Work that failed so far. Times are milliseconds since the epoch. */
export interface Outstanding {
  readonly what: string;
  readonly since: number;
  readonly tries: number;
  readonly error: string;
}

interface Entry extends Outstanding {
  readonly work: () => Promise<void>;
  pauseMs: number;
  timer: NodeJS.Timeout | undefined;
}

/** Work that failed and is tried again, with growing pauses and for ever, until it succeeds or the daemon ends (p02). */
export class Retries {
  readonly #backoff: Backoff;
  readonly #entries = new Map<string, Entry>();
  readonly #running = new Set<Promise<void>>();
  #stopped = false;

  constructor(backoff: Backoff = { firstMs: 1000, mostMs: 5 * 60_000 }) {
    this.#backoff = backoff;
  }

  /** Keeps work that has just failed with `error`; one of the same key is replaced. */
  add(key: string, failed: { readonly what: string; readonly error: unknown; readonly work: () => Promise<void> }): void {
    clearTimeout(this.#entries.get(key)?.timer);
    const { what, error, work } = failed;
    const entry: Entry = {
      what,
      work,
      since: Date.now(),
      tries: 1,
      error: textOf(error),
      pauseMs: this.#backoff.firstMs,
      timer: undefined,
    };
    this.#entries.set(key, entry);
    this.#schedule(key, entry);
  }

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  list(): Outstanding[] {
    return Array.from(this.#entries.values(), ({ what, since, tries, error }) => ({ what, since, tries, error }));
  }

  /** No more tries; waits for those under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const entry of this.#entries.values()) clearTimeout(entry.timer);
    await Promise.all(this.#running);
  }

  #schedule(key: string, entry: Entry): void {
    if (this.#stopped) return;
    entry.timer = setTimeout(() => {
      const running = this.#try(key, entry).finally(() => this.#running.delete(running));
      this.#running.add(running);
    }, entry.pauseMs);
    entry.timer.unref();
    entry.pauseMs = Math.min(entry.pauseMs * 2, this.#backoff.mostMs);
  }

  async #try(key: string, entry: Entry): Promise<void> {
    try {
      await entry.work();
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
    } catch (error) {
      if (this.#entries.get(key) !== entry) return;
      const tried = Object.assign(entry, { tries: entry.tries + 1, error: textOf(error) });
      this.#schedule(key, tried);
    }
  }
}
