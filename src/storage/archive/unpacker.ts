import { Failure } from '../../errors/index.ts';
import { releaseFreedMemory } from '../../linux/index.ts';
import type { Logger } from '../../log/index.ts';
import { UnpackThread } from './thread.ts';
import type { UnpackOptions, UnpackedLayer } from './types.ts';

/** A thread that had nothing to do for so long is ended: it costs memory. Pulls come in bursts, and a new thread is slow for its first 300 ms. */
const IDLE_MS = 30_000;

/**
 * Unpacks layers on worker threads, all that come at once: each on a thread that has nothing to do, on a new one while there are
 * fewer than `maxThreads`, else beside the fewest others. Threads end after some seconds without work.
 */
export class LayerUnpacker {
  readonly #log: Logger;
  readonly #maxThreads: number;
  readonly #threads = new Set<UnpackThread>();
  readonly #idle = new Map<UnpackThread, NodeJS.Timeout>();
  readonly #running = new Set<Promise<unknown>>();
  readonly #closing = new AbortController();

  constructor(o: { readonly log: Logger; readonly maxThreads: number }) {
    this.#log = o.log;
    this.#maxThreads = Math.max(1, o.maxThreads);
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
    for (const timer of this.#idle.values()) clearTimeout(timer);
    this.#idle.clear();
    await Promise.all([...this.#threads].map(async (thread) => await thread.end()));
    this.#threads.clear();
  }

  async #unpack(blob: AsyncIterable<Uint8Array>, options: UnpackOptions, signal: AbortSignal): Promise<UnpackedLayer> {
    const { diffDir, tarSplitPath, blobDigest, diffId, decryption, parts, limits = {}, idMap = { uids: [], gids: [] } } = options;
    const thread = this.#thread();
    try {
      return await thread.run({ diffDir, tarSplitPath, blobDigest, diffId, decryption, parts, limits, idMap }, blob, {
        signal,
        onProgress: options.onProgress ?? (() => {}),
        onSurvey: options.onSurvey ?? (() => {}),
        warn: (text) => this.#log.warn(text, { layer: blobDigest }),
      });
    } finally {
      this.#putBack(thread);
    }
  }

  /** The thread for one layer more. */
  #thread(): UnpackThread {
    const usable = [...this.#threads].filter((thread) => thread.usable);
    let least = usable.toSorted((a, b) => a.load - b.load)[0];
    if (least === undefined || (least.load > 0 && usable.length < this.#maxThreads)) {
      least = new UnpackThread();
      this.#threads.add(least);
    }
    clearTimeout(this.#idle.get(least));
    this.#idle.delete(least);
    return least;
  }

  #putBack(thread: UnpackThread): void {
    if (!thread.usable) this.#threads.delete(thread);
    else if (thread.load === 0) this.#idle.set(thread, setTimeout(() => void this.#retire(thread), IDLE_MS).unref());
  }

  /** The last one to go gives back the memory that it and the download's buffers had. */
  async #retire(thread: UnpackThread): Promise<void> {
    this.#idle.delete(thread);
    this.#threads.delete(thread);
    await thread.end();
    if (this.#threads.size > 0) return;
    globalThis.gc?.(); // Some 30 ms, when nothing has been pulled for seconds: half of what a pull took is old by now.
    globalThis.gc?.({ type: 'minor' }); // Waits until what the first one found is free.
    await releaseFreedMemory();
  }
}
