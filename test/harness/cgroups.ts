import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const MOUNT = '/sys/fs/cgroup';

/** The mounted hierarchies: one on v2, one per controller on v1 (and `systemd`). */
function hierarchies(): string[] {
  if (existsSync(join(MOUNT, 'cgroup.controllers'))) return [MOUNT];
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .filter((fields) => fields[2] === 'cgroup')
    .map((fields) => fields[1] ?? MOUNT);
}

/** Every cgroup below `cgroup` of a hierarchy, itself first. Others come and go meanwhile: what has gone is not there. */
function* walk(hierarchy: string, cgroup: string): Generator<string> {
  let entries;
  try {
    entries = readdirSync(hierarchy + cgroup, { withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  yield cgroup;
  for (const entry of entries) if (entry.isDirectory()) yield* walk(hierarchy, join(cgroup, entry.name));
}

/** `cgroup` and every one below it, in any hierarchy, as `memory:/crio-test-1/pod/crio-…`. */
export function cgroupsBelow(cgroup: string): string[] {
  return hierarchies().flatMap((hierarchy) => [...walk(hierarchy, cgroup)].map((path) => named(hierarchy, path)));
}

/** Every cgroup of the whole machine whose name holds one of the ids. */
export function cgroupsNaming(ids: ReadonlySet<string>): string[] {
  const isOne = (path: string) => ids.has(/[0-9a-f]{64}/.exec(basename(path))?.[0] ?? '');
  return hierarchies().flatMap((hierarchy) => [...walk(hierarchy, '/')].filter(isOne).map((path) => named(hierarchy, path)));
}

function named(hierarchy: string, path: string): string {
  return `${hierarchy.slice(MOUNT.length + 1)}:${path}`;
}

/** Removes a cgroup and all below it, waiting a little for processes that were just killed to leave. */
export async function removeCgroups(cgroup: string): Promise<void> {
  for (const hierarchy of hierarchies()) {
    const deepestFirst = [...walk(hierarchy, cgroup)].toReversed();
    for (const path of deepestFirst) await removeOne(hierarchy + path);
  }
}

/** Removes a cgroup that has nothing in it and nothing below it; leaves any other as it is. */
export function removeEmptyCgroup(cgroup: string): void {
  for (const hierarchy of hierarchies()) {
    try {
      rmdirSync(hierarchy + cgroup);
    } catch (error) {
      if (!['EBUSY', 'ENOENT', 'ENOTEMPTY'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }
}

async function removeOne(path: string): Promise<void> {
  // The kernel tells of an empty cgroup by no event that v1 and v2 share: ask again until a killed process has left.
  for (let tries = 0; existsSync(path); tries++) {
    try {
      rmdirSync(path);
    } catch (error) {
      if (tries === 100) throw error;
      await delay(20);
    }
  }
}
