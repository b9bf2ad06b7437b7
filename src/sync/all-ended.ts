/**
 * As Promise.all, but fails only when all have ended, so that whatever each of them made is on the undo stack by then: a stack
 * that runs while one still works leaves behind what that one makes. The first in the list that failed is the error.
 */
export async function allEnded<const T extends readonly unknown[]>(work: T): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  await Promise.allSettled(work);
  return await Promise.all(work);
}
