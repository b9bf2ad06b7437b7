/** Calls `work`, which must not fail, when calls have been quiet for a while; never twice at once, once more if called while it works. */
export class Settled {
  readonly #work: () => Promise<void>;
  readonly #quietMs: number;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #again = false;

  constructor(work: () => Promise<void>, quietMs: number) {
    this.#work = work;
    this.#quietMs = quietMs;
  }

  poke(): void {
    if (this.#running !== undefined) this.#again = true;
    else if (this.#timer === undefined) this.#timer = setTimeout(() => void this.#go(), this.#quietMs);
    else this.#timer.refresh();
  }

  /** Works now, or waits for the work that is under way and what it left to do. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#running !== undefined) this.#again = true;
    await (this.#running ?? this.#go());
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    this.#again = false;
    await this.#running;
  }

  async #go(): Promise<void> {
    this.#timer = undefined;
    const running = (async () => {
      do {
        this.#again = false;
        await this.#work();
      } while (this.#again);
    })();
    this.#running = running;
    try {
      await running;
    } finally {
      this.#running = undefined;
    }
  }
}
