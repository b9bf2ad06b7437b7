import { setImmediate } from 'node:timers/promises';
import type { BlobSource } from './blob-source.ts';
import { badArchive } from './failures.ts';

/** A compressed block is shorter: 32,767 × 50 symbols of 20 bits, and its tables. */
const LONGEST_BLOCK = 4_300_000;
const PIECE = 512 * 1024;

/**
 * The uncompressed stream in pieces. Streams that follow each other are one stream; what else follows is a Failure. Memory: a
 * block and what it makes, which is 46 MB where its maker means harm (900,000 symbols, each fifth a run of 255) and 900 kB else.
 */
export async function* bunzip2(source: BlobSource): AsyncGenerator<Buffer> {
  const { default: Bunzip } = await import('seek-bzip');
  const input = new Input(source);
  const output = new Output();
  try {
    await input.fill();
    const decoder = new Bunzip(input, output);
    for (;;) {
      if (decoder._init_block()) {
        decoder._read_bunzip();
        for (const piece of output.take()) yield piece;
      } else {
        if (decoder.reader.read(32) >>> 0 !== decoder.streamCRC) throw new TypeError('Bad stream CRC');
        await input.fill();
        if (input.atEnd) return;
        decoder._start_bunzip(input, output);
      }
      // It decodes on this thread: without a turn no abort would be heard.
      await setImmediate();
      await input.fill();
    }
  } catch (error) {
    // What the decoder stumbles over are TypeErrors, its own ones too.
    throw error instanceof TypeError ? badArchive(`bzip2: ${error.message}`, error) : error;
  }
}

/** Compressed bytes, gathered for a decoder that cannot wait in the middle of a block. */
class Input {
  readonly #source: BlobSource;
  #bytes = Buffer.alloc(2 * LONGEST_BLOCK);
  #at = 0;
  #end = 0;
  #complete = false;

  constructor(source: BlobSource) {
    this.#source = source;
  }

  /** Only after `fill`. */
  get atEnd(): boolean {
    return this.#at === this.#end;
  }

  /** Waits until a whole block is here, or all there is. */
  async fill(): Promise<void> {
    this.#source.throwIfAborted();
    while (!this.#complete && this.#end - this.#at < LONGEST_BLOCK) {
      const chunk = await this.#source.next();
      if (chunk === undefined) this.#complete = true;
      else {
        this.#append(chunk.bytes);
        this.#source.release(chunk);
      }
    }
  }

  readByte(): number {
    if (this.#at === this.#end) throw new TypeError(this.#complete ? 'unexpected end of file' : 'a block has no end');
    return this.#bytes[this.#at++] ?? 0;
  }

  read(target: Buffer, offset: number, length: number): number {
    const read = this.#bytes.copy(target, offset, this.#at, Math.min(this.#at + length, this.#end));
    this.#at += read;
    return read;
  }

  #append(chunk: Buffer): void {
    if (this.#bytes.length - this.#end < chunk.length) {
      this.#bytes.copyWithin(0, this.#at, this.#end);
      this.#end -= this.#at;
      this.#at = 0;
    }
    this.#end += chunk.copy(this.#bytes, this.#end);
  }
}

class Output {
  #full: Buffer[] = [];
  #piece = Buffer.alloc(PIECE);
  #length = 0;

  writeByte(byte: number): void {
    if (this.#length === PIECE) {
      this.#full.push(this.#piece);
      this.#piece = Buffer.alloc(PIECE);
      this.#length = 0;
    }
    this.#piece[this.#length++] = byte;
  }

  /** What was written since the last time; the pieces are the taker's until it takes again. */
  take(): Buffer[] {
    const pieces = [...this.#full, this.#piece.subarray(0, this.#length)];
    this.#full = [];
    this.#length = 0;
    return pieces;
  }
}
