import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { codeOf, wrap } from '../../errors/index.ts';
import { inheritCpuset } from './infra.ts';

const ROOT = '/sys/fs/cgroup';
/** A monitor ends a moment after it has recorded the exit of its container, and version 1 tells nobody when a cgroup is empty. */
const LEAVE_TRIES = 50;
const LEAVE_PAUSE_MS = 20;

/** Beside the container's own, whose path (`linux.cgroupsPath` of cgroupfs) tells the parent. */
export function monitorCgroup(cgroupsPath: string, id: string): string | undefined {
  return cgroupsPath.includes(':') ? undefined : posix.join('/', posix.dirname(cgroupsPath), `crio-conmon-${id}`);
}

/** Puts a monitor into a cgroup of its own that keeps it to these CPUs [K48]; `path` is what `monitorCgroup` answers. */
export function placeMonitor(path: string, pid: number, cpus: string, root: string = ROOT): void {
  try {
    const unified = existsSync(join(root, 'cgroup.controllers'));
    const hierarchy = unified ? root : join(root, 'cpuset');
    const directory = join(hierarchy, path);
    if (unified) enableCpuset(root, dirname(directory));
    else inheritCpuset(hierarchy, dirname(directory));
    mkdirSync(directory, { recursive: true });
    if (!unified) writeFileSync(join(directory, 'cpuset.mems'), readFileSync(join(dirname(directory), 'cpuset.mems')));
    writeFileSync(join(directory, 'cpuset.cpus'), cpus);
    writeFileSync(join(directory, 'cgroup.procs'), String(pid));
  } catch (error) {
    throw wrap('failed to add conmon to cgroupfs sandbox cgroup', error);
  }
}

/** [K49] What is not there is success; answers the error of one that stays. */
export async function removeMonitorCgroup(path: string | undefined, root: string = ROOT): Promise<unknown> {
  if (path === undefined) return undefined;
  const hierarchy = existsSync(join(root, 'cgroup.controllers')) ? root : join(root, 'cpuset');
  for (let tries = 1; ; tries++) {
    try {
      rmdirSync(join(hierarchy, path));
      return undefined;
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      if (codeOf(error) !== 'EBUSY' || tries === LEAVE_TRIES) return error;
    }
    await delay(LEAVE_PAUSE_MS);
  }
}

/** Each level hands the controller on to the one below. */
function enableCpuset(root: string, directory: string): void {
  if (!directory.startsWith(root)) return;
  if (directory !== root) enableCpuset(root, dirname(directory));
  mkdirSync(directory, { recursive: true });
  const file = join(directory, 'cgroup.subtree_control');
  if (!readFileSync(file, 'utf8').split(/\s/).includes('cpuset')) writeFileSync(file, '+cpuset');
}
