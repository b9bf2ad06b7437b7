/** Many at once, or one alone; first come, first served, so that neither side starves the other. `using` releases. */
export class SharedMutex {
  #sharing = 0;
  #alone = false;
  readonly #queue: { readonly alone: boolean; readonly enter: () => void }[] = [];

  shared(): Promise<Disposable> {
    return this.#join(false);
  }

  exclusive(): Promise<Disposable> {
    return this.#join(true);
  }

  async #join(alone: boolean): Promise<Disposable> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#queue.push({ alone, enter: resolve });
    this.#admit();
    await promise;
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        if (alone) this.#alone = false;
        else this.#sharing--;
        this.#admit();
      },
    };
  }

  #admit(): void {
    for (let next = this.#queue[0]; next !== undefined && !this.#alone; next = this.#queue[0]) {
      if (next.alone && this.#sharing > 0) return;
      this.#queue.shift();
      if (next.alone) this.#alone = true;
      else this.#sharing++;
      next.enter();
    }
  }
}
