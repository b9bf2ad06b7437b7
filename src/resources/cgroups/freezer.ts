import { writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { cgroupOf, readText } from './locate.ts';

/**
 * Thaws the cgroups of a container that hold this process, up to the one that carries the container's id: whoever froze them, a
 * runtime or a person. Answers whether one was frozen. On version 1 nothing of a frozen cgroup dies, not even by SIGKILL.
 */
export function thaw(pid: number, id: string, root?: string): boolean {
  const cgroup = cgroupOf(pid, 'freezer', root);
  if (cgroup === undefined || !cgroup.path.includes(id)) return false;
  const [file, frozen, thawed] =
    cgroup.version === 1 ? (['freezer.state', /FR/, 'THAWED'] as const) : (['cgroup.freeze', /1/, '0'] as const);
  let found = false;
  for (let path = cgroup.path; path.includes(id); path = dirname(path)) {
    if (frozen.test(readText(join(path, file)) ?? '')) {
      writeFileSync(join(path, file), thawed);
      found = true;
    }
    if (basename(path).includes(id)) break;
  }
  return found;
}
