import { rename } from 'node:fs/promises';
import { textOf } from '../../errors/index.ts';
import type { Logger } from '../../log/index.ts';

/** Puts a file of records that cannot be read out of the way, where nothing depends on it; answers whether it did. */
export type SetAside = (path: string, error: unknown) => Promise<boolean>;

/** What such a file tells of has ended, or can be seen without it, where `isIdle` says so: then it must not stop a node. */
export function settingAside(isIdle: () => boolean, log: Logger): SetAside {
  return async (path, error) => {
    if (!isIdle()) return false;
    await rename(path, `${path}.broken`);
    log.warn(`${textOf(error)}: no container is mounted that it could tell of, so it is set aside as ${path}.broken`);
    return true;
  };
}
