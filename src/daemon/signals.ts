import type { Logger } from '../log/index.ts';

/**
 * Settles with the first SIGTERM or SIGINT: an orderly stop. A second one ends the process at once, as a crash would: what is
 * half made then is undone by the next start.
 */
export function stopSignal(log: Logger): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let stopping = false;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      log.info(`Received ${signal}, stopping${stopping ? ' at once' : ''}`);
      if (stopping) process.exit(1);
      stopping = true;
      resolve();
    });
  }
  process.on('SIGPIPE', () => {});
  process.on('SIGHUP', () => log.warn('Received SIGHUP: the configuration is read at start only, so far'));
  return promise;
}

/**
 * What happens to an error that nobody caught: it is logged with its stack, being a defect of ours. A rejected promise that
 * nobody awaits is one piece of work that failed, with its locks released and its undo run: the daemon goes on, because all other
 * calls are sound. A thrown exception may have cut any code in two: the process ends, and the next start takes up
 * from what is on disk, as after a crash.
 */
export function surviveDefects(log: Logger): void {
  const text = (error: unknown) => (error instanceof Error ? (error.stack ?? error.message) : String(error));
  process.on('unhandledRejection', (reason) => log.error(`A defect of crio: unhandled rejection: ${text(reason)}`));
  process.on('uncaughtException', (error) => {
    try {
      log.error(`A defect of crio, ending: uncaught exception: ${text(error)}`);
    } finally {
      process.exit(2);
    }
  });
}
