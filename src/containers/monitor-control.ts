import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Failure, codeOf, textOf } from '../errors/index.ts';
import { bytesWaiting } from '../linux/index.ts';
import { KeyedMutex } from '../sync/index.ts';
import type { Container } from './container.ts';

/** conmon reads its FIFO within a millisecond; nothing tells when it has. */
const LOOK_EVERY_MS = 2;
const UNREAD_AFTER_MS = 5000;

const writers = new KeyedMutex<string>();

/**
 * Writes one line to conmon's control FIFO and waits until conmon has taken it: of two lines that it finds together, conmon 2.1 does the
 * first one twice and loses the second. Fails with Unavailable when there is no conmon, or it does not read.
 */
export async function tellMonitor(container: Container, line: string): Promise<void> {
  const path = join(container.facts.runDirectory, 'ctl');
  await writers.run(path, async () => {
    const fd = openControl(path);
    try {
      writeSync(fd, line);
      const late = Date.now() + UNREAD_AFTER_MS;
      while (bytesWaiting(fd) > 0) {
        if (Date.now() > late)
          throw unavailable(path, new Failure('DeadlineExceeded', `the monitor has not read it for ${UNREAD_AFTER_MS} ms`));
        await delay(LOOK_EVERY_MS);
      }
    } finally {
      closeSync(fd);
    }
  });
}

/** Without a reader there is no conmon: ENXIO instead of a hang. */
function openControl(path: string): number {
  try {
    return openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw unavailable(path, error);
  }
}

function unavailable(path: string, error: unknown): Failure {
  const dead = codeOf(error) === 'ENXIO';
  return new Failure('Unavailable', `failed to open container ctl file: ${textOf(error)}`, {
    cause: error,
    advice: dead
      ? 'The monitor of this container has ended; restart the container to have logs again.'
      : `Check ${path} and the monitor that reads it.`,
  });
}
