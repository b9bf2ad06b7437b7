/**
 * Runs `work` for each item, at most `atOnce` at a time, in the order of the list; `signal` lets those under way end and begins no
 * more. `work` must not fail: nobody would know for which item it did.
 */
export async function eachOf<T>(items: Iterable<T>, atOnce: number, work: (item: T) => Promise<void>, signal?: AbortSignal): Promise<void> {
  const iterator = items[Symbol.iterator]();
  const lane = async () => {
    for (let next = iterator.next(); next.done !== true && signal?.aborted !== true; next = iterator.next()) await work(next.value);
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
}
