import { readFileSync, readdirSync } from 'node:fs';

export interface ProcessStat {
  /** One letter, proc(5): R, S, D, Z, X, … */
  readonly state: string;
  /** Field 22 of /proc/PID/stat as text, clock ticks since boot: with the PID it names one process for ever. */
  readonly startTime: string;
  readonly parent: number;
  /** The process group. */
  readonly group: number;
  readonly session: number;
  /** Field 52, as wait(2) tells it; of a zombie only. */
  readonly exitWord: number;
}

/** /proc/PID/stat; undefined if there is no such process. */
export function processStat(pid: number): ProcessStat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return {
    state: fields[0] ?? '?',
    parent: Number(fields[1]),
    group: Number(fields[2]),
    session: Number(fields[3]),
    startTime: fields[19] ?? '',
    exitWord: Number(fields[49] ?? 0),
  };
}

/** Whether this very process lives: same start time, not a zombie [D146]. */
export function isAlive(pid: number, startTime: string): boolean {
  const stat = processStat(pid);
  return stat !== undefined && stat.startTime === startTime && stat.state !== 'Z' && stat.state !== 'X';
}

/**
 * Signals this very process, and answers false if it has gone. Between the look at the start time and kill(2)
 * a PID could be reused only if the kernel ran through its whole PID space: docs/architecture.md says why we accept it.
 */
export function signalProcess(pid: number, startTime: string, signal: number): boolean {
  if (!isAlive(pid, startTime)) return false;
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

/** Processes of a group, or of the session that `id` leads. Reads all of /proc once. */
export function membersOf(kind: 'group' | 'session', id: number): number[] {
  const members: number[] = [];
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (Number.isSafeInteger(pid) && processStat(pid)?.[kind] === id) members.push(pid);
  }
  return members;
}
