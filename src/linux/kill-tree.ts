import { readdirSync } from 'node:fs';
import { processStat } from './processes.ts';

/**
 * Kills a process and all that descend from it. Each is stopped before its children are looked for, so that none starts another
 * meanwhile. Reads all of /proc, a few times: for what is rare.
 */
export function killTree(pid: number): void {
  const found = new Set<number>();
  for (let more = [pid]; more.length > 0; more = childrenOf(found)) {
    for (const one of more) {
      found.add(one);
      send(one, 'SIGSTOP');
    }
  }
  for (const one of found) send(one, 'SIGKILL');
}

/** Those that are not among them. */
function childrenOf(parents: ReadonlySet<number>): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isSafeInteger(pid) && !parents.has(pid) && parents.has(processStat(pid)?.parent ?? 0));
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
