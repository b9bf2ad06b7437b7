/**
 * One piece of work for many callers of the same key. The work gets a signal that fires only when every
 * caller has gone; a caller whose own signal fires leaves with that signal's reason. The last to leave waits for
 * the stopped work to end, so that whatever it undoes is undone when the caller hears of it.
 */
export class Flights<K, T> {
  readonly #flights = new Map<K, { readonly result: Promise<T>; readonly stop: AbortController; waiting: number }>();

  async join(key: K, work: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    let flight = this.#flights.get(key);
    if (flight === undefined) {
      const stop = new AbortController();
      const result = work(stop.signal).finally(() => this.#forget(key, stop));
      result.catch(() => {});
      this.#flights.set(key, (flight = { result, stop, waiting: 0 }));
    }
    const mine = flight;
    mine.waiting++;
    try {
      return await orAborted(mine.result, signal);
    } finally {
      if (--mine.waiting === 0) {
        // Whoever comes now starts anew instead of joining work that is being stopped.
        this.#forget(key, mine.stop);
        mine.stop.abort();
        await mine.result.catch(() => {});
      }
    }
  }

  #forget(key: K, stop: AbortController): void {
    if (this.#flights.get(key)?.stop === stop) this.#flights.delete(key);
  }
}

/** `promise`, or the rejection with the signal's reason as soon as it fires. Leaves no listener behind. */
export async function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await promise;
  promise.catch(() => {}); // Who leaves before its end does not hear of it.
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
