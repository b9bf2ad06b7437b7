import { type FSWatcher, closeSync, constants, openSync, watch, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { Failure, codeOf, textOf, wrap } from '../errors/index.ts';
import type { Container } from './container.ts';
import { initIsAlive } from './liveness.ts';

/** conmon answers within milliseconds; one that hangs must not hold the caller for ever, as CRI-O does [E86]. */
const REOPEN_TIMEOUT_MS = 10_000;
const REOPEN = '2 0 0\n';

/**
 * ReopenContainerLog [E85–E88]: tells conmon to open its log anew and waits until the file is there. The kubelet has renamed
 * the old one away before.
 */
export async function reopenLog(container: Container): Promise<void> {
  if (!initIsAlive(container)) throw new Failure('FailedPrecondition', 'container is not running');
  const { logPath, runDirectory } = container.facts;
  const watched = watchFor(logPath);
  watched.seen.catch(() => {});
  try {
    tellMonitor(join(runDirectory, 'ctl'));
    await watched.seen;
  } catch (error) {
    throw wrap(`watch error for container log reopen ${container.id}`, error);
  } finally {
    watched.end();
  }
}

/** One line, one write: conmon 2.1 loses the second of two lines. Without a reader there is no conmon: ENXIO instead of a hang. */
function tellMonitor(path: string): void {
  try {
    const fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    try {
      writeSync(fd, REOPEN);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    const advice =
      codeOf(error) === 'ENXIO' ? { advice: 'The monitor of this container has ended; restart the container to have logs again.' } : {};
    throw new Failure('Unavailable', `failed to open container ctl file: ${textOf(error)}`, { cause: error, ...advice });
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
