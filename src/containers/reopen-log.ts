import { Failure, wrap } from '../errors/index.ts';
import { appearanceOf } from './appearance.ts';
import type { Container } from './container.ts';
import { initIsAlive } from './liveness.ts';
import { tellMonitor } from './monitor-control.ts';

/** conmon answers within milliseconds; one that hangs must not hold the caller for ever, as CRI-O does [E86]. */
const REOPEN_TIMEOUT_MS = 10_000;
const REOPEN = '2 0 0\n';

/**
 * ReopenContainerLog [E85–E88]: tells conmon to open its log anew and waits until the file is there: made as `<log>.tmp` and renamed.
 * The kubelet has renamed the old one away before.
 */
export async function reopenLog(container: Container): Promise<void> {
  if (!initIsAlive(container)) throw new Failure('FailedPrecondition', 'container is not running');
  const appearance = appearanceOf(container.facts.logPath, REOPEN_TIMEOUT_MS);
  try {
    await tellMonitor(container, REOPEN);
    await appearance.seen;
  } catch (error) {
    throw wrap(`watch error for container log reopen ${container.id}`, error);
  } finally {
    appearance.end();
  }
}
