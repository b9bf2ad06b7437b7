import type { Readable, Writable } from 'node:stream';
import { bufferPassed } from './passed.ts';

/** Turns of the event loop that bring nothing before a source without end counts as empty. */
const QUIET_TURNS = 3;

export interface CopyOptions {
  /** What becomes of the source when the destination has broken: it is closed, so that its writer learns of it, or read for nothing. */
  readonly onBroken: 'close' | 'discard';
}

/** Copies what comes out of a stream into another one, no faster than that takes it; does not end the destination. */
export class Copy {
  /** Settles when the source has ended or broken; never rejects. */
  readonly done: Promise<void>;
  readonly #from: Readable;
  readonly #to: Writable;
  #bytes = 0;
  #ended = false;

  constructor(from: Readable, to: Writable, options: CopyOptions) {
    this.#from = from;
    this.#to = to;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.done = promise;
    const end = () => {
      this.#ended = true;
      to.off('drain', resume);
      to.off('close', broken);
      resolve();
    };
    const resume = () => from.resume();
    const broken = () => {
      if (options.onBroken === 'close') from.destroy();
      else from.resume();
    };
    from.on('data', (chunk: Buffer) => {
      this.#bytes += chunk.length;
      bufferPassed(chunk.length);
      if (to.writable && !to.write(chunk)) from.pause();
    });
    to.on('drain', resume);
    to.once('close', broken);
    from.once('end', end);
    from.once('close', end);
    if (to.destroyed) broken();
  }

  /** Bytes that have come so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Settles when all that is in the source now has been copied. A source that others hold open, children that a command left behind, may
   * never end: it counts as empty when some turns of the event loop brought nothing though the destination had room.
   */
  async drained(): Promise<void> {
    let before = this.#bytes;
    for (let quiet = 0; !this.#ended && quiet < QUIET_TURNS;) {
      if (this.#to.writableNeedDrain && !this.#to.destroyed) await this.#room();
      else await new Promise((resolve) => setImmediate(resolve));
      quiet = this.#bytes === before && !this.#from.isPaused() ? quiet + 1 : 0;
      before = this.#bytes;
    }
  }

  async #room(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#to.once('drain', resolve);
    this.#to.once('close', resolve);
    await Promise.race([promise, this.done]);
    this.#to.off('drain', resolve);
    this.#to.off('close', resolve);
  }
}
