import { readdirSync } from 'node:fs';
import { OwnedFd } from './fd.ts';
import { AT, E, O, type Path, RESOLVE, openAt2, orThrow, renameAt, unlinkAt } from './files.ts';

/** Levels that are walked with a descriptor each; what lies deeper is moved up first. */
const MAX_DEPTH = 32;

/**
 * Removes the entry `name` (one component) of the directory `dir` and all below it; one that is not there is success.
 * Works relative to descriptors, follows no link, and needs few of them however deep the tree is: directories deeper
 * than `MAX_DEPTH` are moved beside `name` (as `.removed-<n>`) before they are emptied. Never enters or removes a
 * mount: that is a Failure with code EBUSY or EXDEV, and what was mounted stays whole (needs a80). Blocks on I/O.
 */
export function removeTreeAt(dir: number, name: Path): void {
  const state: Removal = { top: dir, moved: [], count: 0 };
  removeEntry(state, dir, name, 0);
  for (let next = state.moved.pop(); next !== undefined; next = state.moved.pop()) removeEntry(state, dir, next, 0);
}

interface Removal {
  readonly top: number;
  readonly moved: string[];
  count: number;
}

function removeEntry(state: Removal, dir: number, name: Path, depth: number): void {
  const unlinked = unlinkAt(dir, name);
  if (unlinked === 0 || unlinked === E.NOENT) return;
  if (unlinked !== E.ISDIR && unlinked !== E.PERM) orThrow(unlinked, 'remove', name);
  const removed = unlinkAt(dir, name, AT.REMOVEDIR);
  if (removed === 0 || removed === E.NOENT) return;
  if (removed !== E.NOTEMPTY && removed !== E.EXIST) orThrow(removed === E.NOTDIR ? unlinked : removed, 'remove', name);
  if (depth > MAX_DEPTH) return moveUp(state, dir, name);
  {
    using child = new OwnedFd(
      orThrow(openAt2(dir, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW, 0, RESOLVE.NO_XDEV | RESOLVE.NO_SYMLINKS), 'open', name),
    );
    for (const entry of readdirSync(`/proc/self/fd/${child.fd}`, { encoding: 'buffer' })) removeEntry(state, child.fd, entry, depth + 1);
  }
  orThrow(unlinkAt(dir, name, AT.REMOVEDIR), 'remove', name);
}

function moveUp(state: Removal, dir: number, name: Path): void {
  for (;;) {
    const free = `.removed-${state.count++}`;
    const moved = renameAt(dir, name, state.top, free, true);
    if (moved === E.EXIST) continue;
    orThrow(moved, 'rename', name);
    state.moved.push(free);
    return;
  }
}
