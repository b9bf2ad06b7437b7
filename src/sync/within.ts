/** Settles with the first of these, or after so many milliseconds: true if one of them did. Leaves no timer behind. */
export async function within(ms: number, ...events: readonly (Promise<unknown> | undefined)[]): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => resolve(false), ms);
  try {
    return await Promise.race([late, ...events.filter((event) => event !== undefined).map((event) => event.then(() => true))]);
  } finally {
    clearTimeout(timer);
  }
}
