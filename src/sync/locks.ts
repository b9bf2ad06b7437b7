/** First come, first served. `using` releases: `using _ = await lock.acquire()`. */
export class Mutex {
  #tail: Promise<void> = Promise.resolve();

  async acquire(): Promise<Disposable> {
    const before = this.#tail;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#tail = promise;
    await before;
    return { [Symbol.dispose]: resolve };
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    using _ = await this.acquire();
    return await work();
  }
}

/** One Mutex per key; a key's entry goes away with its last user. */
export class KeyedMutex<K> {
  readonly #entries = new Map<K, { readonly mutex: Mutex; users: number }>();

  async acquire(key: K): Promise<Disposable> {
    let entry = this.#entries.get(key);
    if (entry === undefined) this.#entries.set(key, (entry = { mutex: new Mutex(), users: 0 }));
    entry.users++;
    const held = await entry.mutex.acquire();
    const owner = entry;
    return {
      [Symbol.dispose]: () => {
        held[Symbol.dispose]();
        if (--owner.users === 0) this.#entries.delete(key);
      },
    };
  }

  async run<T>(key: K, work: () => Promise<T>): Promise<T> {
    using _ = await this.acquire(key);
    return await work();
  }
}
