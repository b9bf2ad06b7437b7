import { closeSync, constants as fsConstants, openSync } from 'node:fs';
import { constants } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import type { BlockingReply, BlockingRequest } from './blocking.ts';
import { libc, lastErrno } from './libc.ts';
import { waitForLock } from './locks.ts';
import { currentThread, makeInterruptible } from './interrupts.ts';

/** One blocking call at a time, on a thread that may block for as long as another process likes (blocking.ts). */
const canceled = workerData as Int32Array;
const syncfsFn = libc.func('int syncfs(int)');

makeInterruptible();
parentPort?.on('message', (request: BlockingRequest) => {
  parentPort?.postMessage({ errno: perform(request) } satisfies BlockingReply);
});
parentPort?.postMessage({ thread: currentThread() } satisfies BlockingReply);

function perform(request: BlockingRequest): number {
  if (request.call === 'syncfs') return syncFileSystem(request.path);
  for (;;) {
    if (Atomics.load(canceled, 0) !== 0) return constants.errno.EINTR;
    const errno = waitForLock(request.fd, request.mode);
    if (errno !== constants.errno.EINTR) return errno;
  }
}

function syncFileSystem(path: string): number {
  const fd = openSync(path, fsConstants.O_RDONLY | fsConstants.O_DIRECTORY);
  try {
    return syncfsFn(fd) === 0 ? 0 : lastErrno();
  } finally {
    closeSync(fd);
  }
}
