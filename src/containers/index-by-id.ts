/**
 * Objects by id, found by any unique prefix of it [D9–D11], listed newest first [D13].
 * A match of several is told apart from none, because the texts differ.
 */
export class IdIndex<T extends { readonly id: string }> {
  readonly #byId = new Map<string, T>();

  add(item: T): void {
    this.#byId.set(item.id, item);
  }

  delete(id: string): void {
    this.#byId.delete(id);
  }

  get(id: string): T | undefined {
    return this.#byId.get(id);
  }

  get size(): number {
    return this.#byId.size;
  }

  /** The one item whose id starts so; else how many there are (0, or 2 with the first of them). */
  find(prefix: string): { readonly item: T } | { readonly matches: 0 } | { readonly matches: 2; readonly first: T } {
    const exact = this.#byId.get(prefix);
    if (exact !== undefined) return { item: exact };
    let found: T | undefined;
    for (const [id, item] of this.#byId) {
      if (!id.startsWith(prefix)) continue;
      if (found !== undefined) return { matches: 2, first: found };
      found = item;
    }
    return found === undefined ? { matches: 0 } : { item: found };
  }

  /** Newest first: the reverse of the order in which they came. */
  list(): T[] {
    return [...this.#byId.values()].reverse();
  }
}
