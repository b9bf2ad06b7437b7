import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = '/sys/fs/cgroup';

/** Bytes of memory that a process' cgroup uses now; undefined where the kernel does not tell. */
export function memoryUsage(pid: number, root: string = ROOT): bigint | undefined {
  const entries = readText(`/proc/${pid}/cgroup`)?.trimEnd().split('\n') ?? [];
  for (const entry of entries) {
    // `4:memory:/pods/a` on version 1, `0::/pods/a` on version 2
    const [, controllers = '', ...path] = entry.split(':');
    const file =
      controllers === ''
        ? join(root, path.join(':'), 'memory.current')
        : controllers.split(',').includes('memory')
          ? join(root, 'memory', path.join(':'), 'memory.usage_in_bytes')
          : undefined;
    const text = file === undefined ? undefined : readText(file)?.trim();
    if (text !== undefined && /^\d+$/.test(text)) return BigInt(text);
  }
  return undefined;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // No such process, controller or file: nothing is known.
  }
}
