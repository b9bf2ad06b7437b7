import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Failure, codeOf, wrap } from '../../errors/index.ts';
import { type CgroupManagerName, parentDirectory } from './paths.ts';

const ROOT = '/sys/fs/cgroup';

/**
 * Refuses a pod whose cgroup has less memory than a container's start takes [D59]: `minimum` bytes, of the runtime handler. A pod
 * without a parent is not looked at. Answers a warning where there is no such file: the parent is not there yet, or has no limits.
 */
export function checkParentMemory(manager: CgroupManagerName, parent: string, minimum: bigint, root: string = ROOT): string | undefined {
  if (parent === '') return undefined;
  const directory = parentDirectory(manager, parent);
  const [hierarchy, file] = existsSync(join(root, 'cgroup.controllers')) ? ['', 'memory.max'] : ['memory', 'memory.limit_in_bytes'];
  const text = readLimit(join(root, hierarchy, directory, file), directory)?.trim();
  if (text === undefined) return `Failed to find ${file} at path: "${directory}"`;
  if (text === '' || text === 'max') return undefined;
  if (!/^\d+$/.test(text)) throw new Failure('Unknown', `error converting cgroup memory value from string to int "${text}"`);
  const limit = BigInt(text);
  if (limit === 0n || limit >= minimum) return undefined;
  throw new Failure('InvalidArgument', `pod set memory limit ${limit} too low; should be at least ${minimum} bytes`, {
    advice: "Raise the pod's memory limits, or lower container_min_memory of the runtime handler.",
  });
}

function readLimit(path: string, directory: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw wrap(`unable to read memory file for cgroups at ${directory}`, error);
  }
}
