interface Waiter {
  readonly weight: number;
  readonly go: () => void;
}

/**
 * A bound on work under way, over all pulls. Who waits with the least weight (the bytes that its pull has to
 * fetch in all) goes first, so that a small image overtakes a big one [p18]; equals go in order of arrival.
 */
export class Slots {
  #free: number;
  readonly #waiting: Waiter[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async run<T>(weight: number, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    await this.#acquire(weight, signal);
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next.go();
    }
  }

  async #acquire(weight: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#free > 0) {
      this.#free--;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter: Waiter = { weight, go: resolve };
    const place = this.#waiting.findIndex((other) => other.weight > weight);
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
}
