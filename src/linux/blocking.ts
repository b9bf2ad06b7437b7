import { Worker } from 'node:worker_threads';
import { constants } from 'node:os';
import { Failure } from '../errors/index.ts';
import { workerUrl } from '../workers/index.ts';
import { interruptThread } from './interrupts.ts';
import { syscallFailure } from './libc.ts';
import { type LockMode, tryLockFile } from './locks.ts';

export type BlockingRequest =
  | { readonly call: 'lock'; readonly fd: number; readonly mode: LockMode }
  | { readonly call: 'syncfs'; readonly path: string };
export interface BlockingReply {
  /** The first message: the thread's id. */
  readonly thread?: number;
  /** 0 or an errno. */
  readonly errno?: number;
}

const IDLE_MS = 5000;
const REPEAT_INTERRUPT_MS = 5;

/**
 * Calls that may block for as long as another process likes, each on a thread of its own: never in libuv's pool,
 * where four waiting locks stop every fs.promises call (docs/architecture.md). A thread starts with the first call
 * that finds none idle and ends after five idle seconds. One call per thread: two waits on one thread could
 * dead-lock with another process that holds the second lock and wants what we hold.
 */
export class BlockingCalls {
  readonly #idle: BlockingThread[] = [];
  readonly #busy = new Set<BlockingThread>();
  #closed = false;
  readonly #onExit = () => this.#interruptAll();

  /** Takes the lock of `tryLockFile`, waiting on another thread when it is contended. Fails with Canceled when `close` is called. */
  async lockFile(fd: number, mode: LockMode): Promise<void> {
    if (!tryLockFile(fd, mode)) await this.#perform({ call: 'lock', fd, mode }, `lock file descriptor ${fd}`);
  }

  /** syncfs(2): everything written to the file system of the directory `path` is durable afterwards. */
  async syncFileSystem(path: string): Promise<void> {
    await this.#perform({ call: 'syncfs', path }, `syncfs ${path}`);
  }

  /** Ends all threads; waiting calls fail with Canceled. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#interruptAll();
    await Promise.allSettled([...this.#busy].map((thread) => thread.settled));
    await Promise.all([...this.#idle, ...this.#busy].map((thread) => thread.end()));
  }

  async #perform(request: BlockingRequest, what: string): Promise<void> {
    if (this.#closed) throw new Failure('Canceled', `${what}: shutting down`);
    const thread = this.#idle.pop() ?? new BlockingThread((dead) => this.#forget(dead));
    // A blocked thread cannot be joined: process.exit would hang until the lock came, were it not woken first.
    if (this.#busy.size === 0) process.on('exit', this.#onExit);
    this.#busy.add(thread);
    let errno: number;
    try {
      errno = await thread.perform(request);
    } finally {
      this.#busy.delete(thread);
      if (this.#busy.size === 0) process.off('exit', this.#onExit);
    }
    if (!this.#closed) this.#idle.push(thread);
    if (errno === constants.errno.EINTR) throw new Failure('Canceled', `${what}: shutting down`, { code: 'EINTR' });
    if (errno !== 0) throw syscallFailure(request.call, what, errno);
  }

  #forget(thread: BlockingThread): void {
    const index = this.#idle.indexOf(thread);
    if (index >= 0) this.#idle.splice(index, 1);
  }

  #interruptAll(): void {
    for (const thread of this.#busy) thread.interrupt();
  }
}

class BlockingThread {
  readonly #canceled = new Int32Array(new SharedArrayBuffer(4));
  readonly #worker: Worker;
  #thread: number | undefined;
  #current: PromiseWithResolvers<number> | undefined;
  #idleTimer: NodeJS.Timeout | undefined;
  #repeat: NodeJS.Timeout | undefined;
  readonly #onEnd: (thread: BlockingThread) => void;

  constructor(onEnd: (thread: BlockingThread) => void) {
    this.#onEnd = onEnd;
    this.#worker = new Worker(workerUrl(import.meta.url, './blocking.worker.ts'), {
      workerData: this.#canceled,
      resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 1 },
    });
    this.#worker.on('message', (reply: BlockingReply) => {
      this.#thread ??= reply.thread;
      if (reply.errno !== undefined) this.#current?.resolve(reply.errno);
    });
    this.#worker.on('error', (error) => this.#current?.reject(error));
    this.#worker.on('exit', () => {
      onEnd(this);
      this.#current?.reject(new Failure('Internal', 'a thread for blocking calls ended'));
    });
  }

  /** Settles with the current call, never rejects. */
  get settled(): Promise<unknown> {
    return this.#current?.promise.catch(() => {}) ?? Promise.resolve();
  }

  async perform(request: BlockingRequest): Promise<number> {
    clearTimeout(this.#idleTimer);
    this.#worker.ref();
    this.#current = Promise.withResolvers();
    try {
      this.#worker.postMessage(request);
      return await this.#current.promise;
    } finally {
      this.#current = undefined;
      clearInterval(this.#repeat);
      this.#worker.unref();
      this.#idleTimer = setTimeout(() => void this.end(), IDLE_MS).unref();
    }
  }

  /** Makes a waiting call answer EINTR. */
  interrupt(): void {
    Atomics.store(this.#canceled, 0, 1);
    const wake = () => {
      if (this.#thread !== undefined) interruptThread(this.#thread);
    };
    wake();
    // The thread may be just between its look at the flag and the call: signal again until it has answered.
    this.#repeat ??= setInterval(wake, REPEAT_INTERRUPT_MS);
  }

  async end(): Promise<void> {
    clearTimeout(this.#idleTimer);
    this.#onEnd(this);
    await this.#worker.terminate();
  }
}
