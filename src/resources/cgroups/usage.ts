import { join } from 'node:path';
import { cgroupOf, readText } from './locate.ts';

/** Bytes of memory that a process' cgroup uses now; undefined where the kernel does not tell. */
export function memoryUsage(pid: number, root?: string): bigint | undefined {
  const cgroup = cgroupOf(pid, 'memory', root);
  if (cgroup === undefined) return undefined;
  const text = readText(join(cgroup.path, cgroup.version === 1 ? 'memory.usage_in_bytes' : 'memory.current'))?.trim();
  return text !== undefined && /^\d+$/.test(text) ? BigInt(text) : undefined;
}
