/**
 * Runs pieces of work that stand or fall together: the first that fails stops the others, and only when all have
 * ended is its error thrown, so that nobody still writes where the caller now cleans up.
 */
export async function together<T extends readonly unknown[]>(work: (signal: AbortSignal) => T, outer: AbortSignal) {
  outer.throwIfAborted();
  const stop = new AbortController();
  const onAbort = () => stop.abort(outer.reason);
  outer.addEventListener('abort', onAbort, { once: true });
  const pieces = work(stop.signal);
  try {
    return await Promise.all(pieces);
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled(pieces);
    throw error;
  } finally {
    outer.removeEventListener('abort', onAbort);
  }
}
