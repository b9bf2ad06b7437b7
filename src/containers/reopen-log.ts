import { type FSWatcher, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import { Failure, wrap } from '../errors/index.ts';
import type { Container } from './container.ts';
import { initIsAlive } from './liveness.ts';
import { tellMonitor } from './monitor-control.ts';

/** conmon answers within milliseconds; one that hangs must not hold the caller for ever, as CRI-O does [E86]. */
const REOPEN_TIMEOUT_MS = 10_000;
const REOPEN = '2 0 0\n';

/**
 * ReopenContainerLog [E85–E88]: tells conmon to open its log anew and waits until the file is there. The kubelet has renamed
 * the old one away before.
 */
export async function reopenLog(container: Container): Promise<void> {
  if (!initIsAlive(container)) throw new Failure('FailedPrecondition', 'container is not running');
  const { logPath } = container.facts;
  const watched = watchFor(logPath);
  watched.seen.catch(() => {});
  try {
    await tellMonitor(container, REOPEN);
    await watched.seen;
  } catch (error) {
    throw wrap(`watch error for container log reopen ${container.id}`, error);
  } finally {
    watched.end();
  }
}

/** conmon creates `<log>.tmp` and renames it into place, which inotify reports under the log's name. */
function watchFor(logPath: string): { readonly seen: Promise<void>; readonly end: () => void } {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let watcher: FSWatcher;
  try {
    watcher = watch(dirname(logPath), { persistent: false }, (_, name) => {
      if (name === basename(logPath)) resolve();
    });
  } catch (error) {
    throw wrap('failed to create new watch', error);
  }
  watcher.on('error', reject);
  const timer = setTimeout(
    () => reject(new Failure('DeadlineExceeded', `conmon did not open ${logPath} anew within ${REOPEN_TIMEOUT_MS} ms`)),
    REOPEN_TIMEOUT_MS,
  );
  return {
    seen: promise,
    end: () => {
      clearTimeout(timer);
      watcher.close();
    },
  };
}
