import { existsSync, globSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
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

/** Every cgroup below `cgroup` (itself not), in any hierarchy, as `memory:/crio-test-1/pod/crio-…`. */
export function cgroupsBelow(cgroup: string): string[] {
  return hierarchies().flatMap((hierarchy) =>
    globSync('**/', { cwd: hierarchy + cgroup }).map((found) => `${hierarchy.slice(MOUNT.length + 1)}:${join(cgroup, found)}`),
  );
}

/** Every cgroup of the whole machine whose name holds one of the ids. */
export function cgroupsNaming(ids: ReadonlySet<string>): string[] {
  const found: string[] = [];
  const visit = (hierarchy: string, path: string) => {
    for (const entry of readdirSync(hierarchy + path, { withFileTypes: true })) {
      if (!entry.isDirectory()) continue;
      const below = join(path, entry.name);
      const id = /[0-9a-f]{64}/.exec(entry.name)?.[0];
      if (id !== undefined && ids.has(id)) found.push(`${hierarchy.slice(MOUNT.length + 1)}:${below}`);
      visit(hierarchy, below);
    }
  };
  for (const hierarchy of hierarchies()) visit(hierarchy, '/');
  return found;
}

/** Removes a cgroup and all below it, waiting a little for processes that were just killed to leave. */
export async function removeCgroups(cgroup: string): Promise<void> {
  for (const hierarchy of hierarchies()) {
    const top = hierarchy + cgroup;
    if (!existsSync(top)) continue;
    const deepestFirst = [...globSync('**/', { cwd: top }), ''].toSorted((a, b) => b.length - a.length);
    for (const path of deepestFirst) await removeOne(join(top, path));
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
