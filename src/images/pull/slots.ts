interface Waiter {
  readonly owner: SlotOwner;
  readonly go: () => void;
}

/** A pull: what it has to fetch in all, in bytes, decides who goes first. */
export interface SlotOwner {
  readonly weight: number;
}

/** A source that in this time of waiting, in milliseconds, gives less than this is slow: others may work meanwhile. */
const SLOW_MS = 1000;
const SLOW_BYTES = 128 * 1024;

/**
 * A bound on work under way, over all pulls. Who waits with the least weight (the bytes that its pull has to
 * fetch in all) goes first, so that a small image overtakes a big one [p18]; equals go in order of arrival. What waits for
 * a slow registry lends its slot, so that one registry keeps no pull from another waiting; no pull has more than `count`.
 */
export class Slots {
  readonly #count: number;
  /** Below zero when registries that were slow have become quick. */
  #free: number;
  readonly #waiting: Waiter[] = [];
  readonly #held = new Map<SlotOwner, number>();

  constructor(count: number) {
    this.#count = this.#free = count;
  }

  async run<T>(owner: SlotOwner, work: (slot: Slot) => Promise<T>, signal: AbortSignal): Promise<T> {
    await this.#acquire(owner, signal);
    const slot = new Slot((slots) => this.#add(slots));
    try {
      return await work(slot);
    } finally {
      slot.end();
      const held = this.#heldBy(owner) - 1;
      if (held === 0) this.#held.delete(owner);
      else this.#held.set(owner, held);
      this.#add(slot.isLent ? 0 : 1);
    }
  }

  async #acquire(owner: SlotOwner, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#mayGo(owner)) return this.#take(owner);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter: Waiter = { owner, go: resolve };
    const place = this.#waiting.findIndex((other) => other.owner.weight > owner.weight);
    this.#waiting.splice(place === -1 ? this.#waiting.length : place, 0, waiter);
    const onAbort = () => {
      const at = this.#waiting.indexOf(waiter);
      if (at === -1) return;
      this.#waiting.splice(at, 1);
      reject(signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  #add(slots: number): void {
    this.#free += slots;
    for (;;) {
      const at = this.#waiting.findIndex(({ owner }) => this.#mayGo(owner));
      if (at === -1) return;
      for (const { owner, go } of this.#waiting.splice(at, 1)) {
        this.#take(owner);
        go();
      }
    }
  }

  #mayGo(owner: SlotOwner): boolean {
    return this.#free > 0 && this.#heldBy(owner) < this.#count;
  }

  #take(owner: SlotOwner): void {
    this.#free--;
    this.#held.set(owner, this.#heldBy(owner) + 1);
  }

  #heldBy(owner: SlotOwner): number {
    return this.#held.get(owner) ?? 0;
  }
}

/** The right to work, lent to others for as long as what is worked on comes slowly. */
export class Slot {
  readonly #add: (slots: number) => void;
  #watch: NodeJS.Timeout | undefined;
  #ended = false;
  isLent = false;

  constructor(add: (slots: number) => void) {
    this.#add = add;
  }

  /** The same pieces; time counts only while the next is waited for. One at a time. */
  async *watch(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    let waitedMs = 0;
    let bytes = 0;
    let waitsSince: number | undefined = performance.now();
    clearInterval(this.#watch);
    const look = () => {
      if (waitsSince !== undefined && waitedMs + performance.now() - waitsSince >= SLOW_MS) this.#lend(true);
    };
    if (!this.#ended) this.#watch = setInterval(look, SLOW_MS / 8);
    try {
      for await (const piece of pieces) {
        waitedMs += performance.now() - waitsSince;
        waitsSince = undefined;
        bytes += piece.length;
        if (bytes >= SLOW_BYTES) {
          this.#lend(waitedMs >= SLOW_MS);
          waitedMs = bytes = 0;
        }
        yield piece;
        waitsSince = performance.now();
      }
    } finally {
      clearInterval(this.#watch);
    }
  }

  /** The work is over, even if somebody still waits for a piece: a source that is told to stop ends in its own time. */
  end(): void {
    this.#ended = true;
    clearInterval(this.#watch);
  }

  #lend(isLent: boolean): void {
    if (this.#ended || this.isLent === isLent) return;
    this.isLent = isLent;
    this.#add(isLent ? 1 : -1);
  }
}
