import { chmod, chown, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { wrap } from '../../errors/index.ts';
import type { Owner } from '../../linux/index.ts';

const SEARCHABLE = 0o111;

/**
 * Lets a user namespace's root, who is nobody to the host, walk to `path`: each directory up to `/` that is not its own becomes
 * searchable by all, readable by nobody new [F61, G93].
 */
export async function makeAccessible(path: string, owner: Owner): Promise<void> {
  try {
    for (let at = path; at !== '/'; at = dirname(at)) {
      const { uid, gid, mode } = await stat(at);
      if ((uid === owner.uid && gid === owner.gid) || (mode & SEARCHABLE) === SEARCHABLE) continue;
      await chmod(at, (mode & 0o7777) | SEARCHABLE);
    }
  } catch (error) {
    throw wrap(`cannot make ${path} accessible to ${owner.uid}:${owner.gid}`, error);
  }
}

/** [D52, G93] */
export async function changeOwner(path: string, { uid, gid }: Owner): Promise<void> {
  try {
    await chown(path, uid, gid);
  } catch (error) {
    throw wrap(`cannot chown ${path} to ${uid}:${gid}`, error);
  }
}
