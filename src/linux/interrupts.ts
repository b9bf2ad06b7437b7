import koffi from 'koffi';
import { lastError, libc } from './libc.ts';

/**
 * Waking a thread out of a blocking call: a real-time signal whose handler does nothing and that was installed
 * without SA_RESTART, so that the call returns EINTR. The handler is libc's abs(3): it takes an int, touches nothing
 * and so is safe in a signal handler; a JavaScript function would not be.
 */
const SIGNAL = 40;
const sigactionFn = libc.func('int sigaction(int, const void *, void *)');
const gettidFn = libc.func('int gettid()');
const tgkillFn = libc.func('int tgkill(int, int, int)');

/** Installs the handler (for the whole process, once is enough). */
export function makeInterruptible(): void {
  // struct sigaction of glibc: handler, 128 bytes of mask, flags, restorer.
  const action = Buffer.alloc(152);
  action.writeBigUInt64LE(BigInt(koffi.address(libc.symbol('abs', 'int'))), 0);
  if (sigactionFn(SIGNAL, action, null) !== 0) throw lastError('sigaction', `signal ${SIGNAL}`);
}

export function currentThread(): number {
  return gettidFn() as number;
}

/** Wakes that thread of this process. A thread that is not blocked yet misses it: repeat until it answers. */
export function interruptThread(thread: number): void {
  tgkillFn(process.pid, thread, SIGNAL);
}
