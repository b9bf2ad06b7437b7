import { libc } from './libc.ts';

const mallocTrimFn = libc.func('int malloc_trim(size_t)');

/**
 * Gives the kernel back what was freed and kept for the next use: glibc does so by itself only at the end of its heaps. Takes
 * milliseconds for a hundred megabytes; does it on a thread of libuv's pool. Never fails.
 */
export async function releaseFreedMemory(): Promise<void> {
  await new Promise<void>((resolve) => void mallocTrimFn.async(0, () => resolve()));
}
