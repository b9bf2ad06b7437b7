import { uptime } from 'node:os';
import { findProcesses, processStat, signalProcess } from '../../linux/index.ts';

/** Of proc(5)'s start times; Linux shows user space a hundred a second whatever its own clock does. */
const TICKS_PER_SECOND = 100;
const SIGKILL = 9;

/** Now, as a start time of proc(5) that no process that is started from here on undercuts. */
export function nowInTicks(): number {
  return Math.floor(uptime() * TICKS_PER_SECOND) - 1;
}

/**
 * Ends what a plugin that was cut off had started in a session of its own, where the end of its process group does not
 * reach: found by the CNI_CONTAINERID that it inherited. What ran before, such as a server that an earlier call for the same
 * pod left on purpose, goes on. Reads all of /proc; for failures only.
 */
export function endStrays(containerId: string, since: number): void {
  for (const { pid, where } of findProcesses(new Set([containerId]), 'CNI_CONTAINERID')) {
    const startTime = where === 'environment' ? processStat(pid)?.startTime : undefined;
    if (startTime !== undefined && Number(startTime) >= since) signalProcess(pid, startTime, SIGKILL);
  }
}
