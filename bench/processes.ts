import { readFileSync, readdirSync } from 'node:fs';

/** Bytes, as /proc/PID/smaps_rollup has them. */
export interface Memory {
  readonly pss: number;
  readonly anonymous: number;
}

export function memoryOf(pid: number): Memory {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const field = (name: string) => Number(new RegExp(`^${name}: +(\\d+) kB`, 'm').exec(rollup)?.[1] ?? 0) * 1024;
  return { pss: field('Pss'), anonymous: field('Anonymous') };
}

/** Seconds of CPU that a process has used itself, without the children it waited for. */
export function cpuOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS;
}

/** USER_HZ: the same on every Linux that Node runs on. */
const CLOCK_TICKS = 100;

/** The machine's own PIDs, with their command lines, as the machine's /proc at `proc` has them. */
export function processesIn(proc: string): { pid: number; command: string }[] {
  return readdirSync(proc)
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => ({ pid: Number(pid), command: readFileSync(`${proc}/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim() }));
}
