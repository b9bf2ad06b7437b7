import { closeFd } from './fd.ts';
import { lastErrno, lastError, libc } from './libc.ts';
import { processStat } from './processes.ts';
import { EPOLL, type Readiness } from './readiness.ts';

const pidfdOpenFn = libc.func('int pidfd_open(int, unsigned int)');
const ioctlFn = libc.func('int ioctl(int, unsigned long, void *)');

const ESRCH = 3;
/** `struct pidfd_info` in its first size; the kernel tells the exit status from 6.15 on, once somebody has waited for the process. */
const GET_INFO = 0xc040ff0b;
const INFO = { size: 64, exitBit: 8n, exitAt: 60 } as const;

/** How a process ended, as wait(2) tells its parent: an exit code, or the number of the signal that killed it. */
export type WaitStatus = { readonly code: number } | { readonly signal: number };

/**
 * Processes that are not our children, watched through pidfds: their end is an event, and how they ended is known whoever
 * their parent is, as far as the kernel tells. One descriptor each, no thread.
 */
export class ProcessWatcher {
  readonly #readiness: Readiness;

  constructor(readiness: Readiness) {
    this.#readiness = readiness;
  }

  /** Undefined if this very process, of that start time, has ended already. Fails with the errno's name as code. */
  watch(pid: number, startTime: string): WatchedProcess | undefined {
    const fd = Number(pidfdOpenFn(pid, 0));
    if (fd < 0) {
      if (lastErrno() === ESRCH) return undefined;
      throw lastError('pidfd_open', `process ${pid}`);
    }
    // The look comes after: whoever has that start time now had the number then too.
    if (processStat(pid)?.startTime === startTime) return new WatchedProcess(this.#readiness, pid, fd);
    closeFd(fd);
    return undefined;
  }
}

/** `close` it when its end does not matter any more. */
export class WatchedProcess {
  readonly pid: number;
  readonly #readiness: Readiness;
  readonly #ended = Promise.withResolvers<void>();
  readonly #reaped = Promise.withResolvers<void>();
  #fd: number;
  #hasEnded = false;
  #endedAtMs: number | undefined;
  #status: WaitStatus | undefined;

  constructor(readiness: Readiness, pid: number, fd: number) {
    this.pid = pid;
    this.#readiness = readiness;
    this.#fd = fd;
    readiness.add(fd, EPOLL.IN | EPOLL.ONESHOT, (events) => this.#onNews(events));
  }

  /** Settles when it has ended, waited for or not. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Settles when its parent has waited for it: only then does the kernel surely tell how it ended. */
  get reaped(): Promise<void> {
    return this.#reaped.promise;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Milliseconds since the epoch. */
  get endedAtMs(): number | undefined {
    return this.#endedAtMs;
  }

  get status(): WaitStatus | undefined {
    return this.#status;
  }

  close(): void {
    if (this.#fd < 0) return;
    this.#readiness.remove(this.#fd);
    closeFd(this.#fd);
    this.#fd = -1;
  }

  #onNews(events: number): void {
    if (!this.#hasEnded) {
      this.#hasEnded = true;
      this.#endedAtMs = Date.now();
      this.#status = zombieStatus(this.pid);
      this.#ended.resolve();
    }
    if ((events & EPOLL.HUP) === 0) {
      this.#readiness.change(this.#fd, EPOLL.ONESHOT); // The kernel adds HUP by itself.
      return;
    }
    this.#status ??= reapedStatus(this.#fd);
    this.close();
    this.#reaped.resolve();
  }
}

/** Field 52 of /proc/PID/stat, while nobody has waited. The number cannot be another's before that. */
function zombieStatus(pid: number): WaitStatus | undefined {
  const stat = processStat(pid);
  return stat?.state === 'Z' ? waitStatus(stat.exitWord) : undefined;
}

function reapedStatus(fd: number): WaitStatus | undefined {
  const info = Buffer.alloc(INFO.size);
  info.writeBigUInt64LE(INFO.exitBit, 0);
  if (Number(ioctlFn(fd, GET_INFO, info)) !== 0) return undefined;
  return (info.readBigUInt64LE(0) & INFO.exitBit) === 0n ? undefined : waitStatus(info.readInt32LE(INFO.exitAt));
}

function waitStatus(word: number): WaitStatus {
  const signal = word & 0x7f;
  return signal === 0 ? { code: (word >> 8) & 0xff } : { signal };
}
