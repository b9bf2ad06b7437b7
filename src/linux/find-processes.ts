import { readFileSync, readdirSync } from 'node:fs';

/** A process that carries one of the words looked for, in its command line or environment. */
export interface FoundProcess {
  readonly pid: number;
  readonly word: string;
  readonly where: 'arguments' | 'environment';
}

/**
 * Processes one of whose arguments is a word, or one of whose variables `NAME=word`: helpers that a daemon started before it
 * died and that nobody waits for. Reads all of /proc once; for starts after a crash only.
 */
export function findProcesses(words: ReadonlySet<string>, variable: string): FoundProcess[] {
  const found: FoundProcess[] = [];
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isSafeInteger(pid) || pid <= 1 || pid === process.pid) continue;
    const argument = readWords(`/proc/${name}/cmdline`).find((arg) => words.has(arg));
    const word = argument ?? valueOf(readWords(`/proc/${name}/environ`), variable);
    if (word !== undefined && words.has(word)) found.push({ pid, word, where: argument === undefined ? 'environment' : 'arguments' });
  }
  return found;
}

function valueOf(environment: readonly string[], variable: string): string | undefined {
  return environment.find((entry) => entry.startsWith(`${variable}=`))?.slice(variable.length + 1);
}

/** A process that has gone meanwhile has no words. */
function readWords(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\0');
  } catch {
    return [];
  }
}
