import { basename } from 'node:path';

/**
 * The URL of a worker's entry file `<name>.worker.ts`. From sources it stands beside its caller;
 * in the bundle all entries lie flat beside each other (scripts/bundle.mjs).
 */
export function workerUrl(callerUrl: string, file: `./${string}.worker.ts`): URL {
  if (callerUrl.endsWith('.ts')) return new URL(file, callerUrl);
  return new URL(`./${basename(file, '.ts')}.mjs`, callerUrl);
}
