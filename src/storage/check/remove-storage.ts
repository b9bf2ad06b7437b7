import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure, codeOf, wrap } from '../../errors/index.ts';
import { readMounts, unmountIfMounted } from '../../linux/index.ts';
import { runOk } from '../../process/index.ts';

const REMOVE_TIMEOUT_MS = 30 * 60_000;

/**
 * Removes a whole storage directory, other tools' data in it too. Refused while a layer is mounted, be it podman's, unless
 * `force` [J54, A201]. The directory itself stays: it may be a mount point.
 */
export async function removeStorage(graphRoot: string, force: boolean): Promise<void> {
  const below = (await readMounts()).map(({ mountPoint }) => mountPoint).filter((path) => path.startsWith(`${graphRoot}/`));
  const mounted = below.filter((path) => /\/overlay\/[0-9a-f]{64}\/merged$/.test(path));
  if (mounted.length > 0 && !force)
    throw new Failure('FailedPrecondition', 'failed to shutdown storage: a layer is mounted: layer is in use by a container', {
      advice: `Stop what uses ${mounted[0]}, or force the removal.`,
    });
  for (const path of below.toReversed()) unmountIfMounted(path);
  try {
    for (const name of await namesIn(graphRoot))
      await runOk(['rm', '-rf', '--one-file-system', '--', join(graphRoot, name)], { timeoutMs: REMOVE_TIMEOUT_MS });
  } catch (error) {
    throw wrap('failed to remove storage directory', error);
  }
}

async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}
