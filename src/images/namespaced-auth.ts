import { createHash, randomUUID } from 'node:crypto';
import { access, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { codeOf, textOf, wrap } from '../errors/index.ts';
import type { Logger } from '../log/index.ts';
import { pathElement } from './trust/index.ts';
import { type ImageReference, normaliseReference, repositoryOf } from './reference.ts';

const IN_USE = 'in-use';

/** A credentials file that serves one pull only. */
export interface OneTimeAuth {
  readonly path: string;
  /** Removes the file; never fails. */
  end(): Promise<void>;
}

/**
 * Takes a namespace's one-time credentials for an image, if some were laid down: the file
 * `<namespace>-<sha256 of the repository's name>.json` is moved to `in-use/` under a name of its own and is
 * deleted after the pull [I26, I27]. Fails with `prepare temp auth file: …`.
 */
export async function takeOneTimeAuth(dir: string, namespace: string, image: string, log: Logger): Promise<OneTimeAuth | undefined> {
  if (dir === '' || namespace === '') return undefined;
  const stem = `${pathElement(namespace)}-${createHash('sha256').update(nameOf(image)).digest('hex')}`;
  const laidDown = join(dir, `${stem}.json`);
  if (!(await exists(laidDown))) return undefined;
  log.info(`Using auth file for namespace ${namespace}: ${laidDown}`);
  const inUse = join(dir, IN_USE);
  const taken = join(inUse, `${stem}-${randomUUID()}.json`);
  await orRemoved(laidDown, 'unable to ensure in-use auth dir', () => mkdir(inUse, { recursive: true, mode: 0o700 }));
  await orRemoved(laidDown, 'unable to move auth file path to temporary location', () => rename(laidDown, taken));
  return {
    path: taken,
    end: () =>
      rm(taken, { force: true }).catch((error: unknown) => log.warn(`Unable to remove auth file: ${basename(taken)}: ${textOf(error)}`)),
  };
}

/** Removes what pulls of a daemon that was killed had taken, for the start of the next: nobody would find it, and it is secret. */
export async function forgetOneTimeAuth(dir: string, log: Logger): Promise<void> {
  if (dir === '') return;
  const inUse = join(dir, IN_USE);
  try {
    for (const name of await readdir(inUse)) await rm(join(inUse, name), { force: true });
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') log.warn(`Unable to remove auth files of pulls that were cut off: ${textOf(error)}`);
  }
}

function nameOf(image: string): string {
  let reference: ImageReference;
  try {
    reference = normaliseReference(image);
  } catch (error) {
    throw wrap('prepare temp auth file: parse image name', error);
  }
  return repositoryOf(reference);
}

/** Credentials that cannot be used must not lie around. */
async function orRemoved(path: string, doing: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    await rm(path, { force: true }).catch(() => {});
    throw wrap(`prepare temp auth file: ${doing}`, error);
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return false;
    throw wrap('prepare temp auth file: get auth file path', error);
  }
}
