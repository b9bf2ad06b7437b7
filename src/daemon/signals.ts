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
  return promise;
}

/** SIGHUP, from the beginning on: one that comes before there is anything to read anew counts when there is. */
export class ReloadSignal {
  #reload: (() => Promise<void>) | undefined;
  #wanted = false;

  constructor(log: Logger) {
    process.on('SIGHUP', () => {
      log.info('Received SIGHUP: the registries are read anew, the rest of the configuration at a start only, so far');
      this.#wanted = true;
      this.#go();
    });
  }

  /** `reload` must not fail. */
  serve(reload: () => Promise<void>): void {
    this.#reload = reload;
    this.#go();
  }

  #go(): void {
    if (this.#reload === undefined || !this.#wanted) return;
    this.#wanted = false;
    void this.#reload();
  }
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
