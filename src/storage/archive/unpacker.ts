import { Failure } from '../../errors/index.ts';
import { releaseFreedMemory } from '../../linux/index.ts';
import type { Logger } from '../../log/index.ts';
import { UnpackThread } from './thread.ts';
import type { UnpackOptions, UnpackedLayer } from './types.ts';

/** A thread that had nothing to do for so long is ended: it costs memory. Pulls come in bursts, and a new thread is slow for its first 300 ms. */
const IDLE_MS = 30_000;

/**
 * Unpacks layers, each on a worker thread of its own, at most `maxWorkers` at a time; further ones wait in order.
 * Threads start when needed and end after some seconds without work.
 */
export class LayerUnpacker {
  readonly #log: Logger;
  readonly #maxWorkers: number;
  readonly #idle: { readonly thread: UnpackThread; readonly timer: NodeJS.Timeout }[] = [];
  readonly #waiting: (() => void)[] = [];
  readonly #running = new Set<Promise<unknown>>();
  readonly #closing = new AbortController();
  #busy = 0;

  constructor(o: { readonly log: Logger; readonly maxWorkers: number }) {
    this.#log = o.log;
    this.#maxWorkers = Math.max(1, o.maxWorkers);
  }

  /**
   * Unpacks a layer's blob into `diffDir` and writes its tar-split [cri-o-ondisk §4]; verifies both digests. The bytes
   * of the blob are copied at once, its pieces stay the caller's. Settles only when nothing writes to `diffDir` any
   * more; after a failure (codes: ArchiveCode, errno names) the caller throws it away. A fired signal rejects with
   * its reason, within a piece of the archive. An error of the blob itself is passed on as it is.
   */
  async unpack(blob: AsyncIterable<Uint8Array>, options: UnpackOptions): Promise<UnpackedLayer> {
    const stop = new AbortController();
    const sources = [options.signal, this.#closing.signal].filter((signal) => signal !== undefined);
    const onAbort = (event: Event) => stop.abort((event.target as AbortSignal).reason);
    for (const signal of sources) {
      if (signal.aborted) throw signal.reason;
      signal.addEventListener('abort', onAbort, { once: true });
    }
    const work = this.#unpack(blob, options, stop.signal);
    this.#running.add(work);
    try {
      return await work;
    } finally {
      this.#running.delete(work);
      for (const signal of sources) signal.removeEventListener('abort', onAbort);
    }
  }

  /** Cancels what runs, waits for its end and ends all threads. */
  async close(): Promise<void> {
    this.#closing.abort(new Failure('Canceled', 'the unpacker was closed'));
    await Promise.allSettled(this.#running);
    await Promise.all(
      this.#idle.splice(0).map(async ({ thread, timer }) => {
        clearTimeout(timer);
        await thread.end();
      }),
    );
  }

  async #unpack(blob: AsyncIterable<Uint8Array>, options: UnpackOptions, signal: AbortSignal): Promise<UnpackedLayer> {
    await this.#turn(signal);
    const thread = this.#takeThread();
    const { diffDir, tarSplitPath, blobDigest, diffId, decryption, parts, limits = {}, idMap = { uids: [], gids: [] } } = options;
    try {
      return await thread.run({ diffDir, tarSplitPath, blobDigest, diffId, decryption, parts, limits, idMap }, blob, {
        signal,
        onProgress: options.onProgress ?? (() => {}),
        onSurvey: options.onSurvey ?? (() => {}),
        warn: (text) => this.#log.warn(text, { layer: blobDigest }),
      });
    } finally {
      this.#putBack(thread);
      this.#busy--;
      this.#waiting.shift()?.();
    }
  }

  /** Waits until fewer than `maxWorkers` are at work, in the order of asking. */
  async #turn(signal: AbortSignal): Promise<void> {
    if (this.#busy < this.#maxWorkers) {
      this.#busy++;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const start = () => {
      signal.removeEventListener('abort', onAbort);
      this.#busy++;
      resolve();
    };
    const onAbort = () => {
      this.#waiting.splice(this.#waiting.indexOf(start), 1);
      reject(signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    this.#waiting.push(start);
    await promise;
  }

  /** The last one to go gives back the memory that it and the download's buffers had. */
  async #retire(thread: UnpackThread): Promise<void> {
    await thread.end();
    if (this.#busy > 0 || this.#idle.length > 0) return;
    globalThis.gc?.(); // Some 30 ms, when nothing has been pulled for seconds: half of what a pull took is old by now.
    globalThis.gc?.({ type: 'minor' }); // Waits until what the first one found is free.
    await releaseFreedMemory();
  }

  #takeThread(): UnpackThread {
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      clearTimeout(idle.timer);
      if (idle.thread.usable) return idle.thread;
    }
    return new UnpackThread();
  }

  #putBack(thread: UnpackThread): void {
    if (!thread.usable) return;
    const timer = setTimeout(() => {
      const at = this.#idle.findIndex((idle) => idle.thread === thread);
      if (at >= 0) this.#idle.splice(at, 1);
      void this.#retire(thread);
    }, IDLE_MS);
    timer.unref();
    this.#idle.push({ thread, timer });
  }
}
