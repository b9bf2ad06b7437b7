import { setImmediate } from 'node:timers/promises';
import { Failure } from '../../errors/index.ts';
import type { BlobSource } from './blob-source.ts';
import { badArchive, unsupportedCompression } from './failures.ts';

/** What the decoder's numbers say (`enum xz_ret` of XZ Embedded). */
const BEYOND = new Map([
  [4, 'its dictionary is larger than 64 MiB'],
  [6, 'it uses a filter other than LZMA2, or a check other than CRC32 and CRC64'],
]);
const BROKEN = new Map([
  [5, 'no xz stream'],
  [7, 'the data is corrupt'],
  [8, 'unexpected end of file, or data after the end of the compressed stream'],
]);

/**
 * The uncompressed stream in pieces of 64 KiB, each of them the caller's until it asks for the next. Streams that
 * follow each other, and padding, are one stream. Memory: the stream's dictionary, 64 MiB at most (what `xz -9` writes).
 */
export async function* unxz(source: BlobSource): AsyncGenerator<Buffer> {
  const { default: xz } = await import('xz-decompress');
  const pull = async (controller: ReadableStreamDefaultController<Uint8Array>) => {
    const chunk = await source.next();
    if (chunk === undefined) return controller.close();
    // A copy: the decoder looks at the last one again when there is no more.
    controller.enqueue(Uint8Array.from(chunk.bytes));
    source.release(chunk);
  };
  try {
    for await (const piece of new xz.XzReadableStream(new ReadableStream({ pull }, { highWaterMark: 0 }))) {
      yield Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
      free(piece);
      // It decodes on this thread: without a turn no abort would be heard while there is input.
      await setImmediate();
      source.throwIfAborted();
    }
  } catch (error) {
    throw source.aborted ?? explained(error);
  }
}

/** A piece has a buffer of its own; the collector would let many of them gather. */
function free({ buffer }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}

function explained(error: unknown): unknown {
  if (error instanceof Failure || !(error instanceof Error)) return error;
  const code = Number(/error code (\d+)$/.exec(error.message)?.[1]);
  const beyond = BEYOND.get(code);
  if (beyond !== undefined) return unsupportedCompression(`xz: ${beyond}`);
  return badArchive(`xz: ${BROKEN.get(code) ?? error.message}`, error);
}
