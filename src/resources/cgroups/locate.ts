import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = '/sys/fs/cgroup';

/** The directory of the cgroup that holds a process, of the hierarchy with that controller; undefined where there is none. */
export function cgroupOf(
  pid: number,
  controller: string,
  root: string = ROOT,
): { readonly path: string; readonly version: 1 | 2 } | undefined {
  const entries = readText(`/proc/${pid}/cgroup`)?.trimEnd().split('\n') ?? [];
  const unified: string[] = [];
  for (const entry of entries) {
    // `4:memory:/pods/a` on version 1, `0::/pods/a` on version 2
    const [, controllers = '', ...path] = entry.split(':');
    if (controllers.split(',').includes(controller)) return { path: join(root, controller, path.join(':')), version: 1 };
    if (controllers === '') unified.push(join(root, path.join(':')));
  }
  return unified[0] === undefined ? undefined : { path: unified[0], version: 2 };
}

/** A cgroup's file; undefined where it cannot be read: no such process, controller or file, so nothing is known. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
