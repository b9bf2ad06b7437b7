import { existsSync, mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { wrap } from '../../errors/index.ts';

const ROOT = '/sys/fs/cgroup';

/**
 * The cgroup `crio-<pod>` of a pod without infra process, below the pod's [D76] (docs/reference/cri-o-ondisk.md §7): nothing
 * runs in it, CRI-O expects it there. `relative` is what `droppedInfraDirectory` answers; undefined makes none. Answers the undo.
 */
export function makeInfraCgroup(relative: string | undefined, root: string = ROOT): () => void {
  if (relative === undefined) return () => {};
  const made: string[] = [];
  const undo = () => removeAll(made);
  try {
    for (const hierarchy of hierarchies(root)) {
      const path = join(hierarchy, relative);
      inheritCpuset(hierarchy, dirname(path));
      mkdirSync(path, { recursive: true });
      made.push(path);
    }
    writeIfThere(join(root, 'cpuset', relative, 'cpuset.sched_load_balance'), '0');
    return undo;
  } catch (error) {
    undo();
    throw wrap(`create dropped infra ${relative} cgroup`, error);
  }
}

/** In every hierarchy: CRI-O makes one in each. What is gone already is success; one that is not empty stays, its processes are not ours. */
export function removeInfraCgroup(relative: string | undefined, root: string = ROOT): void {
  if (relative === undefined) return;
  const all = existsSync(join(root, 'cgroup.controllers')) ? [root] : readdirSync(root).map((name) => join(root, name));
  removeAll(all.map((hierarchy) => join(hierarchy, relative)));
}

/**
 * Version 2 has one. On version 1 only the cpuset controller's matters: load balancing is switched off there, and nothing runs
 * in any of them; making and removing one costs half a millisecond in each of a dozen hierarchies (docs/parity.md, D76).
 */
function hierarchies(root: string): string[] {
  if (existsSync(join(root, 'cgroup.controllers'))) return [root];
  const cpuset = join(root, 'cpuset');
  return existsSync(cpuset) ? [cpuset] : [];
}

/** On version 1 a cpuset without cpus takes no process: each new level below the root copies its parent's. */
export function inheritCpuset(hierarchy: string, path: string): void {
  if (!hierarchy.endsWith('/cpuset') || path === hierarchy || !path.startsWith(hierarchy)) return;
  inheritCpuset(hierarchy, dirname(path));
  mkdirSync(path, { recursive: true });
  for (const name of ['cpuset.cpus', 'cpuset.mems']) {
    const file = join(path, name);
    if (readFileSync(file, 'utf8').trim() === '') writeFileSync(file, readFileSync(join(dirname(path), name)));
  }
}

function writeIfThere(path: string, text: string): void {
  try {
    writeFileSync(path, text, { flag: 'r+' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

function removeAll(paths: readonly string[]): void {
  for (const path of paths) {
    try {
      rmdirSync(path);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code !== 'ENOENT' && code !== 'EBUSY' && code !== 'ENOTEMPTY') throw error;
    }
  }
}
