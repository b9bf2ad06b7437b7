import { constants } from 'node:os';
import { lastErrno, libc, syscallFailure } from './libc.ts';

/**
 * Open-file-description record locks on whole files. They conflict with the POSIX record locks that Go's tools
 * take, but belong to the descriptor: neither another thread nor closing another descriptor of the file drops them
 * (docs/reference/cri-o-ondisk.md §2.1). Two descriptors of one process conflict like two processes.
 */
export type LockMode = 'shared' | 'exclusive';

const fcntlFn = libc.func('int fcntl(int, int, void *)');
const OFD_SETLK = 37;
const OFD_SETLKW = 38;
const TYPES = { shared: 0, exclusive: 1 } as const;
const UNLOCK = 2;

/** struct flock on 64-bit Linux: type, whence, start at 8, length at 16 (0: to the end), pid at 24 (must be 0). */
function wholeFile(type: number): Buffer {
  const lock = Buffer.alloc(32);
  lock.writeInt16LE(type, 0);
  return lock;
}

/** Takes the lock if nobody is in the way, or changes the mode of the one held; never blocks. */
export function tryLockFile(fd: number, mode: LockMode): boolean {
  if (fcntlFn(fd, OFD_SETLK, wholeFile(TYPES[mode])) === 0) return true;
  const errno = lastErrno();
  if (errno === constants.errno.EAGAIN || errno === constants.errno.EACCES) return false;
  throw syscallFailure('lock', `file descriptor ${fd}`, errno);
}

/** Lets go of the lock; nothing happens if none is held. Never blocks. */
export function unlockFile(fd: number): void {
  if (fcntlFn(fd, OFD_SETLK, wholeFile(UNLOCK)) !== 0) throw syscallFailure('unlock', `file descriptor ${fd}`, lastErrno());
}

/** Waits for the lock: blocks its thread, so only a thread of its own may call it. Answers 0 or the errno (EINTR: a signal came). */
export function waitForLock(fd: number, mode: LockMode): number {
  return fcntlFn(fd, OFD_SETLKW, wholeFile(TYPES[mode])) === 0 ? 0 : lastErrno();
}
