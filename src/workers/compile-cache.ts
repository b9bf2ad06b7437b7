import { enableCompileCache } from 'node:module';
import { join } from 'node:path';

declare const __CRIO_BUNDLED__: boolean | undefined;

/**
 * For entries of processes and threads, before they load the rest: what is loaded from then on comes compiled out of a cache, where we
 * run as a bundle. It lies beside the bundle, where only those who may change the program may write; never in a directory that all share.
 */
export function useCompileCache(): void {
  if (typeof __CRIO_BUNDLED__ !== 'undefined') enableCompileCache(join(import.meta.dirname, 'compile-cache'));
}
