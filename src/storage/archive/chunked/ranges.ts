import type { BlobChunk, BlobSource } from '../blob-source.ts';
import { badArchive } from '../failures.ts';
import type { ByteRange } from '../types.ts';
import { unsuitable } from './unsuitable.ts';

/** Requests of one layer at most: each costs a round trip. */
const MAX_RANGES = 128;
/** What lies between two ranges is fetched with them, if it is less than this: a request would take longer. */
const SMALL_GAP = 8 * 1024;

/** Joins ranges that are near each other, so that there are few. They must be in order and apart; else a Failure (UNSUITABLE). */
export function joined(ranges: readonly ByteRange[]): ByteRange[] {
  let last = 0;
  for (const { start, end } of ranges) {
    if (start < last || end < start) throw unsuitable('its table of contents has chunks that overlap or are out of order');
    last = end;
  }
  for (let gap = SMALL_GAP; ; gap *= 2) {
    const result: { start: number; end: number }[] = [];
    for (const { start, end } of ranges) {
      const before = result.at(-1);
      if (before !== undefined && start - before.end <= gap) before.end = end;
      else result.push({ start, end });
    }
    if (result.length <= MAX_RANGES) return result;
  }
}

/** Reads, by their place in the blob, bytes of ranges that come one after the other. */
export class RangeReader {
  readonly #source: BlobSource;
  readonly #ranges: readonly ByteRange[];
  #range = 0;
  /** Where in the blob the next byte is from. */
  #at: number;
  #piece: BlobChunk | undefined;
  #used = 0;

  constructor(source: BlobSource, ranges: readonly ByteRange[]) {
    this.#source = source;
    this.#ranges = ranges;
    this.#at = ranges[0]?.start ?? 0;
  }

  /** Good until the next call. Places must be asked for in order, and lie in one range each. */
  async take(offset: number, length: number): Promise<Buffer> {
    for (let range = this.#ranges[this.#range]; range !== undefined && range.end <= offset; range = this.#ranges[++this.#range]) {
      await this.#skip(range.end - this.#at);
      this.#at = this.#ranges[this.#range + 1]?.start ?? range.end;
    }
    await this.#skip(offset - this.#at);
    const first = await this.#next(length);
    if (first.length === length) return first;
    const whole = Buffer.allocUnsafe(length);
    for (let [at, piece] = [0, first]; ; piece = await this.#next(length - at)) {
      piece.copy(whole, at);
      if ((at += piece.length) === length) return whole;
    }
  }

  async #skip(length: number): Promise<void> {
    for (let left = length; left > 0;) left -= (await this.#next(left)).length;
  }

  /** At most `max` bytes of what has come, at least one. */
  async #next(max: number): Promise<Buffer> {
    if (this.#piece !== undefined && this.#used === this.#piece.bytes.length) {
      this.#source.release(this.#piece);
      this.#piece = undefined;
    }
    if (this.#piece === undefined) {
      this.#piece = await this.#source.next();
      this.#used = 0;
    }
    const bytes = this.#piece?.bytes.subarray(this.#used, this.#used + max);
    if (bytes === undefined) throw badArchive('the parts of the blob that came are shorter than what was asked for');
    this.#used += bytes.length;
    this.#at += bytes.length;
    return bytes;
  }
}
