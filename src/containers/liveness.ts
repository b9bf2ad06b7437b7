import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { isAlive, processStat } from '../linux/index.ts';
import type { ProcessIdentity } from '../oci/monitor/index.ts';
import type { Container } from './container.ts';

/**
 * Whether the container's init is this very process and lives [D146]. A runtime that is not runc or crun may name the process of a
 * whole sandbox, which outlives the container: there conmon's exit record is the end.
 */
export function initIsAlive(container: Container): boolean {
  const { init, facts } = container;
  if (!facts.runtime.signalsDirectly && (container.goneForRuntime || existsSync(join(facts.directory, 'exit')))) return false;
  return init !== undefined && init.startTime !== '' && isAlive(init.pid, init.startTime);
}

/** Why it is not, in CRI-O's words. */
export function describeDeadInit(container: Container): string {
  return `checking if PID of ${container.id} is running failed: ${whyDead(container.init)}`;
}

function whyDead(init: ProcessIdentity | undefined): string {
  if (init === undefined) return 'container PID not initialized';
  const now = processStat(init.pid)?.startTime;
  if (now === undefined || now === init.startTime) return 'container process not found';
  return `PID ${init.pid} is running but has start time of ${now}, whereas the saved start time is ${init.startTime}. PID wrap may have occurred`;
}
